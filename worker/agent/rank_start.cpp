#include "worker/agent/rank_start.h"

#include <fcntl.h>
#include <unistd.h>

#include <string_view>

#include "base/cpu.h"
#include "base/file.h"
#include "wire/attempt_name.h"
#include "worker/agent/job_folders.h"
#include "worker/agent/process_tree.h"

namespace muster::agent {
namespace {

// The agent's environment without what is Muster's own (its token among it), but for the kernels
// that were chosen: they belong to its numerics class.
std::vector<std::string> RankEnvironment(const RankSettings& settings, const RankKey& key,
                                         const std::string& cluster_id) {
  std::vector<std::string> environment;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string_view variable = *entry;
    const std::string_view name = variable.substr(0, variable.find('='));
    const bool kernels = name == kCpuVariable || name == kBf16SumsVariable;
    if ((name.starts_with("MUSTER_") && !kernels) || name == "OMP_NUM_THREADS") continue;
    environment.emplace_back(variable);
  }
  environment.push_back(std::string(kAttemptVariable) + "=" + RankTag(settings, key));
  environment.push_back("MUSTER_SHM_PREFIX=" +
                        wire::SharedMemoryPrefix(cluster_id, key.job, key.attempt));
  // Threads are the rank's own, pinned and counted; no library shall start more.
  environment.emplace_back("OMP_NUM_THREADS=1");
  return environment;
}

}  // namespace

std::string RankFolder(const RankSettings& settings, const RankKey& key) {
  return settings.worker_directory + "/ranks/" + key.Folder();
}

std::string ResumeFolder(const RankSettings& settings, const RankKey& key) {
  return settings.worker_directory + "/resume/" + std::to_string(key.job) + "-" +
         std::to_string(key.attempt);
}

std::string WorkFolder(const std::string& worker_directory, const RankKey& key) {
  return worker_directory + "/shipped/" + std::to_string(key.job) + "-" +
         std::to_string(key.attempt);
}

std::string RankTag(const RankSettings& settings, const RankKey& key) {
  return settings.tag + "/" + std::to_string(key.job) + "/" + std::to_string(key.attempt) + "/" +
         std::to_string(key.rank);
}

bool IsRolloutWorker(const v1::DesiredRank& desired) {
  const auto members = static_cast<std::uint32_t>(desired.members_size());
  return members > 0 && desired.rank() >= members;
}

Result<std::string> ChooseTransport(const v1::DesiredRank& desired) {
  bool one_host = true;
  for (const v1::Member& member : desired.members()) {
    one_host = one_host && member.host_id() == desired.members(0).host_id();
  }
  const v1::Collectives asked = desired.spec().resources().collectives();
  if (asked == v1::COLLECTIVES_GLOO) return std::string("gloo");
  if (asked != v1::COLLECTIVES_SHM) return std::string(one_host ? "shm" : "gloo");
  if (one_host) return std::string("shm");
  return InvalidArgument(
      "resources.collectives = \"shm\", but the ranks run on several hosts; use \"auto\" or "
      "\"gloo\"");
}

std::uint64_t MemoryLimit(const RankSettings& settings, const v1::JobSpec& spec, std::string& why) {
  if (spec.resources().has_memory_mib_per_rank()) {
    const std::uint64_t limit = spec.resources().memory_mib_per_rank();
    why = "memory_mib_per_rank = " + std::to_string(limit);
    return limit;
  }
  why = "the slot's share of " + std::to_string(settings.memory_mib_per_slot) +
        " MiB; set memory_mib_per_rank to ask for another amount";
  return settings.memory_mib_per_slot;
}

Result<SpawnOptions> PrepareRank(const RankSettings& settings, const v1::DesiredRank& desired,
                                 const std::string& cluster_id, const std::vector<int>& cores) {
  const RankKey key = KeyOf(desired);
  const std::string folder = RankFolder(settings, key);
  MUSTER_RETURN_IF_ERROR(MakeDirectories(folder));
  v1::RankAssignment assignment;
  *assignment.mutable_desired() = desired;
  assignment.set_cluster_id(cluster_id);
  assignment.set_agent_address(settings.rank_service);
  assignment.set_directory(folder);
  assignment.set_metrics_path(folder + "/metrics");
  if (desired.has_resume_step()) assignment.set_resume_directory(ResumeFolder(settings, key));
  assignment.set_cache_directory(settings.cache_directory);
  const v1::Resources& resources = desired.spec().resources();
  assignment.set_threads(resources.has_threads_per_rank() ? resources.threads_per_rank()
                                                          : settings.cores_per_slot);
  MUSTER_ASSIGN_OR_RETURN(*assignment.mutable_transport(), ChooseTransport(desired));
  assignment.set_interface(settings.interface);
  assignment.set_orphan_timeout_ms(settings.orphan_timeout_ms);
  std::string why;
  assignment.set_memory_mib(MemoryLimit(settings, desired.spec(), why));
  if (desired.spec().has_command()) {
    assignment.set_job_directory(JobFolder(settings.worker_directory, key.job));
    MUSTER_RETURN_IF_ERROR(MakeDirectories(assignment.job_directory(), 0700));
  }

  // Not synced: it means nothing after a crash, and the rank waits for it.
  const std::string path = folder + "/assignment.pb";
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor file,
                          FileDescriptor::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  MUSTER_RETURN_IF_ERROR(WriteAll(file.get(), assignment.SerializeAsString(), path));

  // Room for the word about its end, kept for a disk that fills up meanwhile.
  constexpr std::size_t kRoomBytes = 16'384;
  const std::string room = folder + "/" + wire::kExitRoomName;
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor room_file,
                          FileDescriptor::Open(room, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  MUSTER_RETURN_IF_ERROR(WriteAll(room_file.get(), std::string(kRoomBytes, ' '), room));

  SpawnOptions options;
  options.executable = settings.executable;
  options.arguments = {"muster"};
  options.arguments.insert(options.arguments.end(), settings.arguments.begin(),
                           settings.arguments.end());
  options.arguments.push_back(path);
  options.environment = RankEnvironment(settings, key, cluster_id);
  options.directory = folder;
  options.log = folder + "/log";
  options.cores = cores;
  return options;
}

}  // namespace muster::agent
