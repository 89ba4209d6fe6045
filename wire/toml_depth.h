// A guard before the TOML parser: it builds, walks and frees tables recursively, so a key of many
// dots would exhaust the stack.
#pragma once

#include <cstddef>
#include <string_view>

namespace muster::wire {

// The most dots in a row of one dotted key or number outside of strings and comments.
std::size_t LongestDottedRun(std::string_view toml);

}  // namespace muster::wire
