#include "coordinator/journal_copy.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"

namespace muster::coordinator {
namespace {

// The largest number that names an entry of the folder; 0 = none does.
JobId LargestId(const std::string& folder) {
  JobId largest = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    constexpr std::size_t kDigitsMax = 18;
    const std::string name = entry->path().filename();
    const bool number =
        name.size() <= kDigitsMax && name.find_first_not_of("0123456789") == std::string::npos;
    if (number) largest = std::max<JobId>(largest, std::strtoull(name.c_str(), nullptr, 10));
  }
  return largest;
}

void SetAside(const std::string& folder, std::uint64_t epoch) {
  std::error_code error;
  if (!std::filesystem::exists(folder, error)) return;
  const std::string aside = folder + ".before-" + std::to_string(epoch);
  std::filesystem::rename(folder, aside, error);
  std::fprintf(stderr, "coordinator: %s %s %s\n", folder.c_str(),
               error ? "cannot be set aside as" : "is set aside as", aside.c_str());
}

}  // namespace

Status ReconcileFiles(Journal& journal, const std::string& directory) {
  const JobId largest =
      std::max(LargestId(directory + "/jobs"), LargestId(directory + "/checkpoints"));
  MUSTER_RETURN_IF_ERROR(journal.ReserveIds(largest));
  const std::string path = directory + "/journal.epoch";
  std::string cluster;
  std::uint64_t epoch = 0;
  if (const Result<std::string> last = ReadFile(path, 4096); last.ok()) {
    const std::size_t space = last->find(' ');
    cluster = last->substr(0, space);
    if (space != std::string::npos) epoch = std::strtoull(last->c_str() + space, nullptr, 10);
  }
  if (cluster == journal.cluster_id() && epoch >= journal.epoch()) {
    std::fprintf(stderr,
                 "coordinator: the journal is an older copy: it was last opened as epoch %llu, "
                 "and epoch %llu has written here since\n",
                 static_cast<unsigned long long>(journal.epoch() - 1),
                 static_cast<unsigned long long>(epoch));
    MUSTER_RETURN_IF_ERROR(journal.RaiseEpoch(epoch + 1));
    MUSTER_ASSIGN_OR_RETURN(const std::vector<JournaledJob> jobs, journal.LoadJobs());
    for (const JournaledJob& job : jobs) {
      if (IsFinal(job.restored.state)) continue;
      SetAside(directory + "/jobs/" + std::to_string(job.restored.request.id), journal.epoch());
    }
  } else if (!cluster.empty() && cluster != journal.cluster_id()) {
    std::fprintf(stderr,
                 "coordinator: the journal is new, the files beside it are another's; new jobs "
                 "are numbered from %llu\n",
                 static_cast<unsigned long long>(largest + 1));
  }
  MUSTER_RETURN_IF_ERROR(journal.Commit());
  return WriteFileAtomically(path,
                             journal.cluster_id() + " " + std::to_string(journal.epoch()) + "\n");
}

}  // namespace muster::coordinator
