// Others beside a benchmark of ours, in the same run, where this machine has them.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace muster {

struct PeerOutput {
  int status = -1;              // As waitpid gives it.
  std::string text;             // Both of its streams.
  std::vector<double> numbers;  // Of the last line, up to the first word that is none.

  std::string last_line() const;
};

// Runs the program command[0] with these arguments and waits for its end.
Result<PeerOutput> RunPeer(const std::vector<std::string>& command);

// Runs the Python program `script` with these arguments, by the interpreter that MUSTER_PYTHON
// names, else `python3`, and returns the numbers of its last line. kNotFound with the reason where
// there is no PyTorch; kInternal where the script failed.
Result<std::vector<double>> RunTorch(const std::string& script,
                                     const std::vector<std::string>& arguments);

}  // namespace muster
