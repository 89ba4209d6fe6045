#include "bench/peer.h"

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

std::string PeerOutput::last_line() const {
  const std::size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return "";
  const std::size_t begin = text.rfind('\n', end) + 1;
  return text.substr(begin, end + 1 - begin);
}

Result<PeerOutput> RunPeer(const std::vector<std::string>& command) {
  std::string line;
  for (const std::string& part : command) line += Quoted(part) + " ";
  FILE* const pipe = ::popen((line + "2>&1").c_str(), "r");
  if (pipe == nullptr) return FromErrno("run " + command.front());
  PeerOutput output;
  char chunk[4096];
  while (std::fgets(chunk, sizeof(chunk), pipe) != nullptr) output.text += chunk;
  output.status = ::pclose(pipe);
  std::istringstream numbers(output.last_line());
  for (double value = 0; numbers >> value;) output.numbers.push_back(value);
  return output;
}

Result<std::vector<double>> RunTorch(const std::string& script,
                                     const std::vector<std::string>& arguments) {
  const char* const given = std::getenv("MUSTER_PYTHON");
  const std::string python = given == nullptr ? "python3" : given;
  std::string path = std::filesystem::temp_directory_path() / "muster-torch-XXXXXX";
  const FileDescriptor file(::mkstemp(path.data()));
  if (file.get() < 0) return FromErrno(path);
  std::vector<std::string> command = {python, path};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const Status written = WriteAll(file.get(), script, path);
  Result<PeerOutput> output = written.ok() ? RunPeer(command) : written;
  ::unlink(path.c_str());
  MUSTER_RETURN_IF_ERROR(output.status());
  const bool no_module = output->text.find("ModuleNotFoundError") != std::string::npos;
  if (no_module || output->status == 127 << 8) {
    return NotFound(python + " has no PyTorch (" + output->last_line() +
                    "); name another interpreter with MUSTER_PYTHON");
  }
  if (output->status != 0) return Internal("PyTorch's part failed: " + output->last_line());
  return output->numbers;
}

}  // namespace muster
