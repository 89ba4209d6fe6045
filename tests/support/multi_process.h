// Runs a test's ranks as processes: fork, run, collect what each reports.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace muster::testing_support {

// How one forked process ended.
struct ProcessResult {
  std::string report;  // What its function returned; "" when it did not return.
  int signal = 0;      // That ended it, 0 for none.
  // Whether it returned. A report says what happened; an exception's text is the report, and false.
  bool ok = false;
};

// Forks `count` processes; each calls `run(index)` and its return value becomes its report. The
// caller must have no other threads. A process that has not ended `timeout_s` seconds after the
// start is killed. Children never return into the test's code.
std::vector<ProcessResult> RunProcesses(std::size_t count,
                                        const std::function<std::string(std::size_t)>& run,
                                        double timeout_s = 30);

}  // namespace muster::testing_support
