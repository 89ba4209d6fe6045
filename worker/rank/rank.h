// A rank: one process of a job's gang.
#pragma once

#include <string>

namespace muster::rank {

// `muster rank ASSIGNMENT`, started by an agent only. Runs the job's recipe and leaves exit.pb in
// the assignment's directory. Never returns: the process ends with 0 after success, else with 1.
[[noreturn]] void RunRank(const std::string& assignment_path);

}  // namespace muster::rank
