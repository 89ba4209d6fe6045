// `muster pull ID DIR`: fetches a checkpoint of a job.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <iostream>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/pull_checkpoint.h"
#include "cli/session_interrupt.h"
#include "cli/terminal.h"
#include "wire/json.h"
#include "wire/manifest.h"

namespace muster::cli {
namespace {

// Writes the files of a checkpoint stream into a folder that exists.
class Receiver {
 public:
  explicit Receiver(std::string directory) : directory_(std::move(directory)) {}

  Status Take(const v1::CheckpointChunk& chunk) {
    if (chunk.has_begin()) {
      if (begun_) return DataLoss("the cluster began the checkpoint twice");
      begun_ = true;
      begin_ = chunk.begin();
      bar_ = std::make_unique<TransferBar>("checkpoint", begin_.bytes_total());
    }
    if (!begun_) return DataLoss("the cluster sent files before the checkpoint's beginning");
    if (!chunk.path().empty()) {
      if (!wire::IsPlainFileName(chunk.path())) {
        return DataLoss("the cluster sent a file name that is not allowed");
      }
      path_ = directory_ + "/" + chunk.path();
      MUSTER_ASSIGN_OR_RETURN(file_,
                              FileDescriptor::Open(path_, O_WRONLY | O_CREAT | O_EXCL, 0644));
    }
    if (chunk.data().empty()) return {};
    if (!file_.valid()) return DataLoss("the cluster sent data before a file name");
    MUSTER_RETURN_IF_ERROR(WriteAll(file_.get(), chunk.data(), path_));
    if (bar_ != nullptr) bar_->Add(chunk.data().size());
    return {};
  }

  // kDataLoss unless a whole checkpoint, and the announced one, is there.
  Status Verify() const {
    if (begin_.sha256().empty()) return DataLoss("the cluster announced no checkpoint");
    return wire::VerifyCheckpoint(directory_, begin_.sha256());
  }

  const v1::CheckpointBegin& begin() const { return begin_; }

 private:
  std::string directory_;
  std::string path_;
  FileDescriptor file_;
  bool begun_ = false;
  v1::CheckpointBegin begin_;
  std::unique_ptr<TransferBar> bar_;
};

// Where the folder really is: a link cannot be replaced by a folder.
Result<std::string> TargetOf(const std::string& given) {
  std::string directory = given;
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  if (directory.empty()) return InvalidArgument("DIR is empty; give a folder that is new or empty");
  std::error_code error;
  if (!std::filesystem::is_symlink(directory, error)) return directory;
  const std::string target = std::filesystem::canonical(directory, error);
  if (!error) return target;
  return InvalidArgument(directory + " is a symbolic link that leads nowhere (to " +
                         std::filesystem::read_symlink(directory, error).string() +
                         "); make that folder, or give another");
}

Status CheckIsNewOrEmpty(const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::exists(directory, error)) return {};
  if (!std::filesystem::is_directory(directory, error)) {
    return InvalidArgument(directory + " is a file; give a folder");
  }
  if (!std::filesystem::is_empty(directory, error) || error) {
    return InvalidArgument(directory + " is not empty; give a folder that is new or empty");
  }
  // It is replaced as a whole, and what is mounted cannot be.
  struct stat own {
  }, above{};
  const bool known =
      ::stat(directory.c_str(), &own) == 0 && ::stat((directory + "/..").c_str(), &above) == 0;
  if (!known || own.st_dev == above.st_dev) return {};
  return InvalidArgument(directory + " is where a file system is mounted; give a folder in it");
}

// By trying: permissions, read-only file systems and /proc all refuse in ways of their own.
Status CheckCanBeMade(const std::string& directory) {
  std::error_code error;
  std::filesystem::path folder = std::filesystem::absolute(directory, error).parent_path();
  while (!std::filesystem::exists(folder, error) && folder.has_relative_path()) {
    folder = folder.parent_path();
  }
  std::string probe = (folder / ".muster-XXXXXX").string();
  if (::mkdtemp(probe.data()) == nullptr) {
    return InvalidArgument(directory + " cannot be made: " +
                           FromErrno("no folder can be made in " + folder.string()).message());
  }
  ::rmdir(probe.c_str());
  return {};
}

// Of a checkpoint that came, but is not the one that was published.
Status Damaged(Session& session, std::uint64_t job_id, std::uint64_t step,
               const std::string& what) {
  std::string others;
  if (const Result<v1::JobInfo> job = session.GetJob(job_id); job.ok()) {
    for (const v1::CheckpointInfo& checkpoint : job->checkpoints()) {
      if (checkpoint.step() == step) continue;
      others += (others.empty() ? "" : " or ") + ("--step " + std::to_string(checkpoint.step()));
    }
  }
  return DataLoss("the cluster's copy of the checkpoint of step " + std::to_string(step) +
                  " is damaged (" + what + ")" +
                  (others.empty() ? "; the job has no other" : "; pull another with " + others));
}

}  // namespace

Status CheckPullTarget(const std::string& given) {
  MUSTER_ASSIGN_OR_RETURN(const std::string directory, TargetOf(given));
  MUSTER_RETURN_IF_ERROR(CheckIsNewOrEmpty(directory));
  return CheckCanBeMade(directory);
}

Result<PulledCheckpoint> PullCheckpoint(Session& session, std::uint64_t job_id,
                                        std::optional<std::uint64_t> step,
                                        const std::string& given) {
  MUSTER_RETURN_IF_ERROR(CheckPullTarget(given));
  MUSTER_ASSIGN_OR_RETURN(const std::string directory, TargetOf(given));
  if (const auto parent = std::filesystem::path(directory).parent_path(); !parent.empty()) {
    MUSTER_RETURN_IF_ERROR(MakeDirectories(parent));
  }
  // A name of its own: nobody's folder, nor another pull's, is touched.
  std::string partial = directory + ".partial-XXXXXX";
  if (::mkdtemp(partial.data()) == nullptr) return FromErrno("make " + partial);
  static_cast<void>(::chmod(partial.c_str(), 0755));
  std::error_code ignored;
  v1::DownloadCheckpointRequest request;
  request.set_job_id(job_id);
  if (step.has_value()) request.set_step(*step);
  Status status;
  PulledCheckpoint pulled;
  {
    Receiver receiver(partial);
    status = session.Download(
        request, [&](const v1::CheckpointChunk& chunk) { return receiver.Take(chunk); });
    const bool came = status.ok() && !receiver.begin().sha256().empty();
    if (status.ok()) status = receiver.Verify();
    if (came && status.code() == StatusCode::kDataLoss) {
      std::string what = status.message();
      if (what.starts_with(partial + "/")) what.erase(0, partial.size() + 1);
      status = Damaged(session, job_id, receiver.begin().step(), what);
    }
    pulled = {receiver.begin().step(), receiver.begin().sha256()};
  }
  if (status.ok() && ::rename(partial.c_str(), directory.c_str()) != 0) {
    const int error = errno;
    status = error == ENOTEMPTY || error == EEXIST
                 ? InvalidArgument(directory + " is not empty any more; give another folder")
                 : FromErrno("rename " + partial + " to " + directory);
  }
  if (!status.ok()) {
    std::filesystem::remove_all(partial, ignored);
    return status;
  }
  return pulled;
}

namespace {

struct PullArgs {
  ClusterOptions cluster;
  std::uint64_t job_id = 0;
  std::optional<std::uint64_t> step;
  std::string directory;
  bool json = false;
};

int Pull(const PullArgs& args) {
  std::unique_ptr<Session> session;
  SessionInterrupt interrupt;
  Result<std::unique_ptr<Session>> opened = Session::Open(args.cluster);
  if (!opened.ok()) return Report(opened.status());
  session = std::move(*opened);
  interrupt.Use(session.get());
  const Result<PulledCheckpoint> pulled =
      PullCheckpoint(*session, args.job_id, args.step, args.directory);
  if (pulled.status().code() == StatusCode::kCancelled) return kExitInterrupted;
  if (!pulled.ok()) return Report(pulled.status());
  if (args.json) {
    std::cout << "{\"job_id\":" << args.job_id << ",\"step\":" << pulled->step
              << ",\"sha256\":" << wire::JsonText(pulled->sha256)
              << ",\"directory\":" << wire::JsonText(args.directory) << "}" << std::endl;
  } else {
    std::cerr << "checkpoint of step " << pulled->step << " (sha256 " << pulled->sha256
              << ") is in " << args.directory << std::endl;
  }
  return kExitOk;
}

}  // namespace

void AddPull(CommandLine& line) {
  const auto args = std::make_shared<PullArgs>();
  Command command = line.Add("pull", "Fetch a checkpoint of a job into a folder");
  command.Value("ID", args->job_id, "The job's number").Required();
  command.Value("DIR", args->directory, "Folder; must be new or empty").Required();
  command.Value("--step", args->step, "Of this step; otherwise the newest")
      .Flag("--json", args->json, "Print job_id, step, sha256, directory as one object")
      .Example("muster pull 3 model/ --step 200")
      .Runs([args] { return Pull(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
