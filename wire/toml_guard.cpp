#include "wire/toml_guard.h"

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

TomlScan ScanToml(std::string_view toml) {
  TomlScan scan;
  std::size_t dots = 0;
  std::size_t at = toml.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  while (at < toml.size()) {
    std::size_t bytes = 1;
    switch (toml[at]) {
      case '"':
      case '\'':
        bytes = StringBytes(toml.substr(at));
        break;
      case '#':
        bytes = std::min(toml.find('\n', at), toml.size()) - at;
        break;
      case '.':
        scan.longest_dotted_run = std::max(scan.longest_dotted_run, ++dots);
        break;
      case '=':
      case ',':
      case '\n':
      case '[':
      case '{':
        dots = 0;
        break;
      default:
        if (static_cast<unsigned char>(toml[at]) >= 0x80) {
          scan.first_foreign = std::min(scan.first_foreign, at);
        }
    }
    at += bytes;
  }
  return scan;
}

}  // namespace muster::wire
