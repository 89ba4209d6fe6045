#include "wire/toml_guard.h"

#include <algorithm>
#include <string>

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
      if (!text.substr(at).starts_with(text.substr(0, 3))) continue;
      // Up to two quotes before the closing three are part of the string.
      const std::size_t past = std::min(text.find_first_not_of(quote, at), text.size());
      return std::min(past, at + 5);
    } else if (text[at] == '\n' && !long_form) {
      return at;
    }
  }
  return text.size();
}

// Where in a long string a byte beyond ASCII follows a backslash or the line break after one: the
// parser asks there whether it is white space. npos = nowhere.
std::size_t ForeignAfterBackslash(std::string_view text) {
  if (!text.starts_with("\"\"\"")) return std::string_view::npos;
  for (std::size_t at = 3; at < text.size(); ++at) {
    if (text[at] != '\\') continue;
    const std::size_t next = std::min(text.find_first_not_of(" \t\r\n", at + 1), text.size());
    if (next < text.size() && static_cast<unsigned char>(text[next]) >= 0x80) return next;
    at = std::max(at + 1, next - 1);
  }
  return std::string_view::npos;
}

class Scanner {
 public:
  explicit Scanner(std::string_view toml) : toml_(toml) {}

  TomlScan Scan() {
    std::size_t at = toml_.starts_with("\xEF\xBB\xBF") ? 3 : 0;
    while (at < toml_.size()) at += Take(at);
    return scan_;
  }

 private:
  // Scans what begins at `at`; how many bytes that is.
  std::size_t Take(std::size_t at) {
    const char c = toml_[at];
    if ((c == '"' || c == '\'') && !in_word_) {
      const std::string_view string = toml_.substr(at, StringBytes(toml_.substr(at)));
      const std::size_t foreign = ForeignAfterBackslash(string);
      if (foreign != std::string_view::npos) Foreign(at + foreign);
      in_word_ = true;
      return string.size();
    }
    if (c == '#') {
      in_word_ = false;
      return std::min(toml_.find('\n', at), toml_.size()) - at;
    }
    if (c == '.') scan_.longest_dotted_run = std::max(scan_.longest_dotted_run, ++dots_);
    if (c == '=' || c == ',' || c == '\n' || c == '[' || c == '{') dots_ = 0;
    if (static_cast<unsigned char>(c) >= 0x80) Foreign(at);
    Follow(c);
    return 1;
  }

  void Follow(char c) {
    const bool in_array = !open_.empty() && open_.back() == '[';
    if (c == '=' && !in_array && !in_value_) {
      in_value_ = true;
      in_word_ = false;
    } else if ((c == '[' || c == '{') && !in_word_) {
      open_ += c;
      in_value_ = false;
    } else if (c == ']' || c == '}') {
      if (!open_.empty()) open_.pop_back();
      in_value_ = in_word_ = true;
    } else if (c == ',' || c == '\n') {
      if (c == ',' || open_.empty()) in_value_ = false;
      in_word_ = false;
    } else {
      in_word_ = c != ' ' && c != '\t' && c != '\r';
    }
  }

  void Foreign(std::size_t at) { scan_.first_foreign = std::min(scan_.first_foreign, at); }

  const std::string_view toml_;
  TomlScan scan_;
  std::size_t dots_ = 0;
  // A quote begins a string only where a word may begin: the parser reads `12'a` and `x.'a`, where
  // a value belongs, up to the next white space or bracket.
  bool in_word_ = false;
  bool in_value_ = false;  // After the '=' of a key.
  std::string open_;       // Brackets that are open.
};

}  // namespace

TomlScan ScanToml(std::string_view toml) { return Scanner(toml).Scan(); }

}  // namespace muster::wire
