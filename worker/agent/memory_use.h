// How much memory a process and its descendants hold.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace muster::agent {

// MiB held by `root` and its descendants, rounded up, when that is more than `limit_mib`; 0
// otherwise. Counts proportional set size, so that memory shared between ranks counts once. The
// kernel's cheap count (resident pages, never less) is looked at first.
std::uint64_t MemoryBeyond(pid_t root, std::uint64_t limit_mib);

}  // namespace muster::agent
