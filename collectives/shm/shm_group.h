// ShmGroup: the ranks are processes of one host and share memory.
//
// Rank 0 creates the segment `name`; when all ranks have attached it removes the name, so that
// processes killed later leave nothing in /dev/shm. Allocate does the same with `name`-1, `name`-2,
// ...: after a kill -9 in the middle of Create or Allocate a segment with that prefix may remain,
// and whoever chose the prefix removes it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "collectives/group.h"

namespace muster {

struct ShmGroupOptions {
  // "/" and letters, digits, '-', '_', '.'; at most 200 characters; unique on the host among groups
  // that are alive.
  std::string name;
  // Distinguishes the group from an earlier one of that name whose segment was left behind, for
  // example the attempt's number. The same on all ranks.
  std::uint64_t generation = 0;
  std::size_t rank = 0;
  std::size_t size = 1;  // At most 64.
  GroupOptions group;
};

// Collective: returns when all ranks have attached; kDeadlineExceeded names those that have not.
// kResourceExhausted when /dev/shm is full.
Result<std::unique_ptr<Group>> CreateShmGroup(const ShmGroupOptions& options);

}  // namespace muster
