#include "wire/toml_depth.h"

#include <algorithm>

namespace muster::wire {
namespace {

// The bytes of the string that starts at text[0], a quote; all of them when it has no end.
std::size_t StringBytes(std::string_view text) {
  const char quote = text[0];
  const bool long_form = text.size() >= 3 && text[1] == quote && text[2] == quote;
  if (!long_form && text.size() >= 2 && text[1] == quote) return 2;
  for (std::size_t at = long_form ? 3 : 1; at < text.size(); ++at) {
    if (text[at] == '\\' && quote == '"') {
      ++at;
    } else if (text[at] == quote) {
      if (!long_form) return at + 1;
      if (text.substr(at).starts_with(text.substr(0, 3))) return at + 3;
    } else if (text[at] == '\n' && !long_form) {
      return at;
    }
  }
  return text.size();
}

}  // namespace

std::size_t LongestDottedRun(std::string_view toml) {
  std::size_t longest = 0;
  std::size_t dots = 0;
  while (!toml.empty()) {
    std::size_t bytes = 1;
    switch (toml[0]) {
      case '"':
      case '\'':
        bytes = StringBytes(toml);
        break;
      case '#':
        bytes = std::min(toml.find('\n'), toml.size());
        break;
      case '.':
        longest = std::max(longest, ++dots);
        break;
      case '=':
      case ',':
      case '\n':
      case '[':
      case '{':
        dots = 0;
        break;
      default:
        break;
    }
    toml.remove_prefix(bytes);
  }
  return longest;
}

}  // namespace muster::wire
