#include "worker/rank/command_environment.h"

#include <algorithm>
#include <cstdlib>
#include <map>

namespace muster::rank {

LocalPlace LocalPlaceOf(const v1::DesiredRank& desired) {
  if (desired.members().empty()) return {0, 1, 0};
  const auto me = static_cast<int>(desired.rank());
  const std::string& host = desired.members(me).host_id();
  LocalPlace place;
  std::map<std::string, unsigned> hosts;
  for (int i = 0; i < desired.members_size(); ++i) {
    const std::string& other = desired.members(i).host_id();
    hosts.try_emplace(other, static_cast<unsigned>(hosts.size()));
    if (other != host) continue;
    if (i < me) ++place.rank;
    ++place.size;
  }
  place.host = hosts.at(host);
  return place;
}

std::string MasterAddress(const v1::RankAssignment& assignment) {
  const v1::DesiredRank& desired = assignment.desired();
  const LocalPlace place = LocalPlaceOf(desired);
  const auto ranks = static_cast<unsigned>(std::max(desired.members_size(), 1));
  if (place.size == ranks) return "127.0.0.1";
  const std::string& address = desired.members(0).address();
  return address.empty() ? "127.0.0.1" : address;
}

std::string CheckpointFolderOf(const v1::RankAssignment& assignment) {
  return assignment.directory() + "/checkpoint";
}

std::vector<std::string> CommandEnvironment(const v1::RankAssignment& assignment,
                                            const Master& master) {
  const v1::DesiredRank& desired = assignment.desired();
  const v1::CommandRecipe& command = desired.spec().command();
  std::map<std::string, std::string> variables = {
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"HOME", "/"},
      {"LANG", "C.UTF-8"},
      {"TMPDIR", "/tmp"},
      {"OMP_NUM_THREADS", std::to_string(std::max(assignment.threads(), 1U))}};
  for (const char* name : {"PATH", "HOME", "LANG", "USER", "TMPDIR"}) {
    if (const char* value = std::getenv(name); value != nullptr) variables[name] = value;
  }
  for (const auto& [name, value] : command.environment()) variables[name] = value;
  const LocalPlace place = LocalPlaceOf(desired);
  variables["RANK"] = std::to_string(desired.rank());
  variables["WORLD_SIZE"] = std::to_string(std::max(desired.members_size(), 1));
  variables["LOCAL_RANK"] = std::to_string(place.rank);
  variables["LOCAL_WORLD_SIZE"] = std::to_string(place.size);
  variables["NODE_RANK"] = std::to_string(place.host);
  variables["MASTER_ADDR"] = master.address;
  variables["MASTER_PORT"] = std::to_string(master.port);
  variables["CUDA_VISIBLE_DEVICES"] = "";  // Slots of this version hold no GPU.
  variables["MUSTER_JOB_ID"] = std::to_string(desired.job_id());
  variables["MUSTER_JOB_NAME"] = desired.spec().name();
  variables["MUSTER_ATTEMPT_NUMBER"] = std::to_string(desired.attempt());
  variables["MUSTER_JOB_DIR"] = assignment.job_directory();
  variables["MUSTER_CHECKPOINT_DIR"] = CheckpointFolderOf(assignment);
  // By which an agent finds what a killed one left behind.
  if (const char* tag = std::getenv("MUSTER_ATTEMPT"); tag != nullptr) {
    variables["MUSTER_ATTEMPT"] = tag;
  }
  std::vector<std::string> environment;
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  return environment;
}

}  // namespace muster::rank
