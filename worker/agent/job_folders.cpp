#include "worker/agent/job_folders.h"

#include <cstdio>
#include <filesystem>
#include <utility>

#include "worker/agent/log.h"

namespace muster::agent {
namespace {

namespace fs = std::filesystem;

std::string FolderOfJobs(const std::string& worker_directory) { return worker_directory + "/jobs"; }

// What the user's program has made unreadable is made readable first.
void RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (!error) return;
  std::error_code ignored;
  fs::permissions(path, fs::perms::owner_all, fs::perm_options::add, ignored);
  for (fs::recursive_directory_iterator entry(path, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    std::error_code unchanged;
    if (entry->is_directory(unchanged) && !entry->is_symlink(unchanged)) {
      fs::permissions(entry->path(), fs::perms::owner_all, fs::perm_options::add, unchanged);
    }
  }
  fs::remove_all(path, error);
  if (error) Log("cannot remove " + path + ": " + error.message());
}

}  // namespace

std::string JobFolder(const std::string& worker_directory, std::uint64_t job) {
  return FolderOfJobs(worker_directory) + "/" + std::to_string(job);
}

JobFolders::JobFolders(std::string worker_directory)
    : worker_directory_(std::move(worker_directory)) {
  std::error_code error;
  for (fs::directory_iterator entry(FolderOfJobs(worker_directory_), error), end;
       !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos && name.size() < 20) {
      known_.insert(std::stoull(name));
    } else {
      doomed_.push_back(entry->path());  // Was being removed.
    }
  }
  thread_ = std::thread([this] { Loop(); });
}

JobFolders::~JobFolders() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void JobFolders::Keep(const std::set<std::uint64_t>& jobs) {
  for (auto job = known_.begin(); job != known_.end();) {
    if (jobs.contains(*job)) {
      ++job;
      continue;
    }
    const std::string path = JobFolder(worker_directory_, *job), gone = path + ".gone";
    job = known_.erase(job);
    if (std::rename(path.c_str(), gone.c_str()) != 0) continue;
    const std::lock_guard lock(mutex_);
    doomed_.push_back(gone);
    wake_.notify_all();
  }
}

void JobFolders::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || !doomed_.empty(); });
    // The rest is removed before an orderly end too, so that nothing of an ended job is left.
    if (doomed_.empty()) return;
    const std::vector<std::string> doomed = std::exchange(doomed_, {});
    lock.unlock();
    for (const std::string& path : doomed) RemoveTree(path);
    lock.lock();
  }
}

}  // namespace muster::agent
