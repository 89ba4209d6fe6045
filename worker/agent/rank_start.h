// What a rank is started with: its folder, its assignment, its environment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "muster/v1/agent.pb.h"
#include "worker/agent/rank_key.h"
#include "worker/agent/spawn.h"

namespace muster::agent {

// What is the same for all ranks of an agent.
struct RankSettings {
  std::string worker_directory;  // Holds ranks/ and resume/.
  std::string tag;               // First part of MUSTER_ATTEMPT: this agent's alone.
  std::string executable;
  std::vector<std::string> arguments;  // Before the assignment's path.
  std::string rank_service;            // "unix:PATH".
  std::string cache_directory;
  std::string interface;
  std::int64_t orphan_timeout_ms = 600'000;
  std::uint32_t cores_per_slot = 1;
  std::uint64_t memory_mib_per_slot = 0;  // 0 = not limited.
};

std::string RankFolder(const RankSettings& settings, const RankKey& key);
// Where the attempt's ranks on this worker find the checkpoint they start from.
std::string ResumeFolder(const RankSettings& settings, const RankKey& key);
// Where they find their copy of what was shipped with the job.
std::string WorkFolder(const std::string& worker_directory, const RankKey& key);
std::string RankTag(const RankSettings& settings, const RankKey& key);

// It helps the attempt's gang and is no member of it: comes and goes while the gang goes on.
bool IsRolloutWorker(const v1::DesiredRank& desired);

// "shm" or "gloo", the same for the whole gang; kInvalidArgument when the job asks for shm and its
// ranks do not share a host.
Result<std::string> ChooseTransport(const v1::DesiredRank& desired);

// MiB the rank may hold, 0 = any amount; `why` becomes "memory_mib_per_rank = 512" or the like.
std::uint64_t MemoryLimit(const RankSettings& settings, const v1::JobSpec& spec, std::string& why);

// Makes the folder, writes assignment.pb, and returns how to spawn the rank on `cores`.
Result<SpawnOptions> PrepareRank(const RankSettings& settings, const v1::DesiredRank& desired,
                                 const std::string& cluster_id, const std::vector<int>& cores);

}  // namespace muster::agent
