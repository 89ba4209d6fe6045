#include "worker/agent/folders.h"

#include <filesystem>

#include "worker/agent/log.h"

namespace muster::agent {

void RemoveFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) Log("cannot remove " + path + ": " + error.message());
}

void RemoveSubfolders(const std::string& path) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored) && !entry->is_symlink(ignored)) RemoveFolder(entry->path());
  }
}

}  // namespace muster::agent
