// A look at TOML text before the parser (toml++ 3.3) sees it, for what that cannot take: it builds,
// walks and frees tables recursively, so a key of many dots would exhaust the stack; and some
// characters beyond ASCII outside of strings are undefined behaviour in its tables.
#pragma once

#include <cstddef>
#include <string_view>

namespace muster::wire {

struct TomlScan {
  // The most dots in a row of one dotted key or number outside of strings and comments.
  std::size_t longest_dotted_run = 0;
  // Where the first byte beyond ASCII outside of strings and comments is (never valid TOML);
  // npos = there is none. A byte order mark at the beginning does not count.
  std::size_t first_foreign = std::string_view::npos;
};

TomlScan ScanToml(std::string_view toml);

}  // namespace muster::wire
