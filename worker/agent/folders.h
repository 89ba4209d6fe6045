// What a rank leaves on the disk goes; a failure is logged and nothing else.
#pragma once

#include <string>

namespace muster::agent {

// With everything in it; one that is not there is no error.
void RemoveFolder(const std::string& path);

// The folders in `path`, not its files.
void RemoveSubfolders(const std::string& path);

}  // namespace muster::agent
