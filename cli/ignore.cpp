#include "cli/ignore.h"

#include <algorithm>
#include <span>

#include "wire/printable.h"

namespace muster::cli {
namespace {

std::vector<std::string> Split(std::string_view text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('/', begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// One name against one part; goes back to the last '*' only, so it takes at most n * m steps.
bool MatchesName(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n]) && pattern[p] != '*') {
      ++p, ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool MatchesPath(std::span<const std::string> pattern, std::span<const std::string> path) {
  if (pattern.empty()) return path.empty();
  if (pattern.front() == "**") {
    for (std::size_t skip = 0; skip <= path.size(); ++skip) {
      if (MatchesPath(pattern.subspan(1), path.subspan(skip))) return true;
    }
    return false;
  }
  return !path.empty() && MatchesName(pattern.front(), path.front()) &&
         MatchesPath(pattern.subspan(1), path.subspan(1));
}

}  // namespace

Result<IgnoreRules> IgnoreRules::Parse(std::string_view text, const std::string& source) {
  IgnoreRules rules;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    const auto refuse = [&](const std::string& why) {
      return InvalidArgument(source + ":" + std::to_string(number) + ": " + wire::Quoted(line) +
                             ": " + why);
    };
    if (line.find_first_of("![\\") != line.npos)
      return refuse("'!', '[' and '\\' mean nothing here");
    Pattern pattern;
    if (line.back() == '/') {
      pattern.folders_only = true;
      line.remove_suffix(1);
    }
    const bool anchored = line.find('/') != line.npos;
    if (!line.empty() && line.front() == '/') line.remove_prefix(1);
    if (line.empty()) return refuse("names nothing");
    pattern.parts = Split(line);
    constexpr std::ptrdiff_t kAnyDepthMax = 4;  // Each multiplies the time of a match.
    if (std::count(pattern.parts.begin(), pattern.parts.end(), "**") > kAnyDepthMax) {
      return refuse("has too many '**'");
    }
    if (!anchored) pattern.parts.insert(pattern.parts.begin(), "**");
    rules.patterns_.push_back(std::move(pattern));
  }
  return rules;
}

bool IgnoreRules::Ignores(std::string_view path, bool is_folder) const {
  const std::vector<std::string> parts = Split(path);
  return std::any_of(patterns_.begin(), patterns_.end(), [&](const Pattern& pattern) {
    return (is_folder || !pattern.folders_only) && MatchesPath(pattern.parts, parts);
  });
}

}  // namespace muster::cli
