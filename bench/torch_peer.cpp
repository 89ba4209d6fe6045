#include "bench/torch_peer.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>

#include "base/file.h"

namespace muster {
namespace {

// In single quotes for a shell.
std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

}  // namespace

Result<std::vector<double>> RunTorch(const std::string& script,
                                     const std::vector<std::string>& arguments) {
  const char* const given = std::getenv("MUSTER_PYTHON");
  const std::string python = given == nullptr ? "python3" : given;
  std::string path = std::filesystem::temp_directory_path() / "muster-torch-XXXXXX";
  const FileDescriptor file(::mkstemp(path.data()));
  if (file.get() < 0) return FromErrno(path);
  const Status written = WriteAll(file.get(), script, path);
  std::string command = Quoted(python) + " " + Quoted(path);
  for (const std::string& argument : arguments) command += " " + Quoted(argument);
  std::string output;
  int status = -1;
  if (written.ok()) {
    if (FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r")) {
      char chunk[4096];
      while (std::fgets(chunk, sizeof(chunk), pipe) != nullptr) output += chunk;
      status = ::pclose(pipe);
    }
  }
  ::unlink(path.c_str());
  MUSTER_RETURN_IF_ERROR(written);
  while (!output.empty() && output.back() == '\n') output.pop_back();
  const std::string last = output.substr(output.rfind('\n') + 1);
  if (output.find("ModuleNotFoundError") != std::string::npos || status == 127 << 8) {
    return NotFound(python + " has no PyTorch (" + last +
                    "); name another interpreter with MUSTER_PYTHON");
  }
  if (status != 0) return Internal("PyTorch's part failed: " + last);
  std::istringstream numbers(last);
  std::vector<double> values;
  for (double value = 0; numbers >> value;) values.push_back(value);
  return values;
}

}  // namespace muster
