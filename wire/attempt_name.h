// Names that an attempt's processes and their agents must agree on.
#pragma once

#include <cstdint>
#include <string>

namespace muster::wire {

// Names of an attempt's shared-memory segments start with it, on every host and agent:
// "muster-<first 8 of the cluster id>-<job>-<attempt>-". The agents remove what is left under it.
inline std::string SharedMemoryPrefix(const std::string& cluster_id, std::uint64_t job,
                                      std::uint32_t attempt) {
  return "muster-" + cluster_id.substr(0, 8) + "-" + std::to_string(job) + "-" +
         std::to_string(attempt) + "-";
}

// Exit code of a rank that could not write how it ended: its disk is full.
inline constexpr int kExitWithoutReport = 74;

// A file beside the report of a rank's end, made before the rank starts and removed for the report.
inline constexpr const char* kExitRoomName = "exit.room";

}  // namespace muster::wire
