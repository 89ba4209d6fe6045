#include "wire/cluster_files.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"

namespace muster::wire {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string Home() {
  if (std::string home = Environment("HOME"); !home.empty()) return home;
  const passwd* user = ::getpwuid(::getuid());
  return user == nullptr ? "/tmp" : user->pw_dir;
}

}  // namespace

std::string DefaultStateDirectory() {
  if (std::string state = Environment("MUSTER_STATE"); !state.empty()) {
    return std::filesystem::absolute(state).lexically_normal();
  }
  if (std::string state = Environment("XDG_STATE_HOME"); !state.empty()) return state + "/muster";
  return Home() + "/.local/state/muster";
}

ClusterFiles FilesOf(const std::string& state) {
  if (state.empty()) return {DefaultStateDirectory()};
  std::string path = std::filesystem::absolute(state).lexically_normal();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return {path};
}

Result<Endpoint> ReadEndpoint(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 4096));
  const std::size_t end = text.find('\n');
  Endpoint endpoint{text.substr(0, end), end != std::string::npos && text.substr(end) == "\ntls\n"};
  if (endpoint.address.empty()) return NotFound(path + " is empty");
  return endpoint;
}

Status WriteEndpoint(const std::string& path, const Endpoint& endpoint) {
  return WriteFileAtomically(path, endpoint.address + (endpoint.tls ? "\ntls\n" : "\n"));
}

}  // namespace muster::wire
