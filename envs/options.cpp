#include "envs/options.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace muster::envs {
namespace {

std::string ShortNumber(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", value);
  return text.data();
}

template <class T>
bool Parse(const std::string& text, T& value) {
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stopped == end;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// Levenshtein's distance.
std::size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string InRange(const NumberRange& range) {
  if (std::isinf(range.low) && std::isinf(range.high)) return "a finite number";
  if (std::isinf(range.high)) return "a number of at least " + ShortNumber(range.low);
  return "a number in " + ShortNumber(range.low) + ".." + ShortNumber(range.high);
}

}  // namespace

Status AddOption(std::string_view text, EnvOptions& options) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return InvalidArgument("option '" + std::string(text) + "' must be written key=value");
  }
  options[std::string(text.substr(0, equals))] = std::string(text.substr(equals + 1));
  return {};
}

const std::string* OptionReader::Given(const std::string& name, std::string fallback,
                                       const char* help) {
  known_.push_back({name, std::move(fallback), help});
  const auto found = given_.find(name);
  return found == given_.end() ? nullptr : &found->second;
}

void OptionReader::Refuse(const std::string& name, const std::string& why) {
  if (error_.ok()) error_ = InvalidArgument("option " + name + ": " + why);
}

bool OptionReader::Flag(const std::string& name, bool fallback, const char* help) {
  const std::string* const text = Given(name, fallback ? "true" : "false", help);
  if (text == nullptr) return fallback;
  const std::string word = Lower(*text);
  if (word == "true" || word == "1") return true;
  if (word != "false" && word != "0") Refuse(name, "'" + *text + "' is not true or false");
  return false;
}

double OptionReader::Number(const std::string& name, double fallback, NumberRange range,
                            const char* help) {
  const std::string* const text = Given(name, ShortNumber(fallback), help);
  if (text == nullptr) return fallback;
  double value = 0;
  const bool finite = Parse(*text, value) && std::isfinite(value);
  if (!finite || value < range.low || value > range.high) {
    Refuse(name, "'" + *text + "' is not " + InRange(range));
    return fallback;
  }
  return value;
}

std::int64_t OptionReader::Integer(const std::string& name, std::int64_t fallback,
                                   NumberRange range, const char* help) {
  const std::string* const text = Given(name, std::to_string(fallback), help);
  if (text == nullptr) return fallback;
  std::int64_t value = 0;
  if (!Parse(*text, value) || static_cast<double>(value) < range.low ||
      static_cast<double>(value) > range.high) {
    Refuse(name, "'" + *text + "' is not a whole " + InRange(range).substr(2));
    return fallback;
  }
  return value;
}

std::string OptionReader::Choice(const std::string& name, const std::string& fallback,
                                 const std::vector<std::string>& choices, const char* help) {
  const std::string* const text = Given(name, fallback, help);
  if (text == nullptr) return fallback;
  if (std::find(choices.begin(), choices.end(), *text) == choices.end()) {
    std::string all;
    for (const std::string& choice : choices) all += (all.empty() ? "" : ", ") + choice;
    Refuse(name, "'" + *text + "' is not one of " + all);
    return fallback;
  }
  return *text;
}

std::string OptionReader::Text(const std::string& name, const std::string& fallback,
                               const char* help) {
  const std::string* const text = Given(name, fallback, help);
  return text == nullptr ? fallback : *text;
}

Status OptionReader::Finish() const {
  if (!error_.ok()) return error_;
  for (const auto& [name, value] : given_) {
    std::vector<std::string> names;
    for (const OptionText& option : known_) names.push_back(option.name);
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    if (names.empty()) return InvalidArgument("unknown option " + name + ": there are none");
    std::string all;
    for (const std::string& near : NearestNames(name, names, names.size())) {
      all += (all.empty() ? "" : ", ") + near;
    }
    return InvalidArgument("unknown option " + name + "; there are: " + all);
  }
  return {};
}

std::vector<std::string> NearestNames(std::string_view name, const std::vector<std::string>& names,
                                      std::size_t most) {
  const std::string wanted = Lower(name);
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& candidate : names) {
    const std::string lower = Lower(candidate);
    // A name that goes on after what was typed ("cartpole" for "CartPole-v1") is nearest.
    const bool begins = !wanted.empty() && lower.compare(0, wanted.size(), wanted) == 0;
    ranked.emplace_back(begins ? 0 : 1 + Distance(wanted, lower), candidate);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> nearest;
  for (const auto& [distance, candidate] : ranked) {
    if (nearest.size() < most) nearest.push_back(candidate);
  }
  return nearest;
}

}  // namespace muster::envs
