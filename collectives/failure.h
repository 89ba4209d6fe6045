// The wording of what goes wrong between ranks, the same for every transport.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "collectives/group.h"

namespace muster {

// kDeadlineExceeded: "all-reduce #17 (4096 floats): no word from rank 2 for 30 s".
Status NoWord(const CollectiveCall& call, std::span<const std::size_t> ranks,
              std::chrono::milliseconds timeout, std::string_view hints = {});

// kUnavailable: "barrier #3: lost rank 1: its process ended".
Status Lost(const CollectiveCall& call, std::size_t rank, std::string_view why);

// kFailedPrecondition: "barrier #3: rank 1 is in all-reduce #3 (10 floats)".
Status Mismatch(const CollectiveCall& call, std::size_t rank, const CollectiveCall& other);

// "0.3 s", "30 s".
std::string Seconds(std::chrono::milliseconds time);

}  // namespace muster
