// .musterignore: which files of a folder are not put. A subset of .gitignore, and nothing else:
// one pattern a line, '#' begins a comment line; '*' and '?' match within one name, '**' as a whole
// part matches any number of folders; a pattern with a '/' before its end is anchored at the
// folder, any other matches names at every depth; a '/' at the end means folders only, and what is
// in an ignored folder is ignored. '!', '[' and '\' are refused, so that no line means another
// thing than in git.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace muster::cli {

class IgnoreRules {
 public:
  // kInvalidArgument names the line; `source` names the file.
  static Result<IgnoreRules> Parse(std::string_view text, const std::string& source);

  // `path` is relative to the folder, without '.' and '..'. Does not look at the folders above it.
  bool Ignores(std::string_view path, bool is_folder) const;

 private:
  struct Pattern {
    std::vector<std::string> parts;
    bool folders_only = false;
  };
  std::vector<Pattern> patterns_;
};

}  // namespace muster::cli
