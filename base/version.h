// The version of the whole program: workers and coordinator must agree on it.
#pragma once

namespace muster {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace muster
