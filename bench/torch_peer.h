// PyTorch beside a benchmark of ours, in the same run, where it can be imported.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace muster {

// Runs the Python program `script` with these arguments, by the interpreter that MUSTER_PYTHON
// names, else `python3`, and returns the numbers of its last line. kNotFound with the reason where
// there is no PyTorch; kInternal where the script failed.
Result<std::vector<double>> RunTorch(const std::string& script,
                                     const std::vector<std::string>& arguments);

}  // namespace muster
