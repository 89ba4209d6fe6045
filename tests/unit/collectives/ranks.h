// Runs one function on every rank of a group, over any transport, and collects what it reports.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "collectives/group.h"
#include "tests/support/multi_process.h"

namespace muster {

// Ranks of "local" are threads, those of "shm" and "gloo" forked processes.
// `run` returns a report; an empty one means that all is well.
using RankFunction = std::function<std::string(Group&)>;
std::vector<testing_support::ProcessResult> RunRanks(const std::string& transport, std::size_t size,
                                                     const RankFunction& run,
                                                     const GroupOptions& options = {});

// Names of segments of this test process in /dev/shm.
std::vector<std::string> SegmentsLeft();
std::string SegmentPrefix();

// Reproducible floats of many magnitudes, so that the order of a sum shows in its bits.
std::vector<float> TestValues(std::size_t seed, std::size_t count);

// SHA-256 of the bytes, for comparing results of processes.
std::string Digest(std::span<const float> values);

}  // namespace muster
