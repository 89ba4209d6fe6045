// The numerics class: workers that have the same one compute the same bits.
#pragma once

#include <string>

namespace muster::agent {

// A digest (16 hexadecimal digits) of the program's build, the CPU's make and the instruction sets
// that libraries choose between, the kernels in use (base/cpu.h), and the versions of the shared
// libraries that compute.
// `executable`: the program that computes.
std::string NumericsClass(const std::string& executable);

// The parts in readable form, one a line; what NumericsClass hashes.
std::string DescribeNumerics(const std::string& executable);

}  // namespace muster::agent
