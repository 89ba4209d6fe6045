// How much memory a process and its descendants hold.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace muster::agent {

// MiB held by `root` and its descendants, rounded up, when that is more than `limit_mib`; 0
// otherwise. Counts proportional set size, so that memory shared between ranks counts once. The
// kernel's cheap count (resident pages, never less) is looked at first.
std::uint64_t MemoryBeyond(pid_t root, std::uint64_t limit_mib);

// `root` and its descendants, by the kernel's own lists of children.
std::vector<pid_t> FamilyOf(pid_t root);

// By the kernel's cheap count, in which shared pages count whole; 0 when it has ended.
std::uint64_t ResidentBytes(pid_t pid);

}  // namespace muster::agent
