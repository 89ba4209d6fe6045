// Options of an environment: `--set g=9.8 is_slippery=false`.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace muster::envs {

using EnvOptions = std::map<std::string, std::string>;

// "key=value" as a user writes it; kInvalidArgument without '='.
Status AddOption(std::string_view text, EnvOptions& options);

// What `muster env show` prints of an option.
struct OptionText {
  std::string name, fallback, help;
};

struct NumberRange {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

// Asks for each option once, with its default: asking is what declares it. The first wrong value,
// or an option that nobody asked for, becomes the error of Finish().
class OptionReader {
 public:
  explicit OptionReader(EnvOptions given) : given_(std::move(given)) {}

  bool Flag(const std::string& name, bool fallback, const char* help);
  double Number(const std::string& name, double fallback, NumberRange range, const char* help);
  std::int64_t Integer(const std::string& name, std::int64_t fallback, NumberRange range,
                       const char* help);
  // One of `choices`.
  std::string Choice(const std::string& name, const std::string& fallback,
                     const std::vector<std::string>& choices, const char* help);
  std::string Text(const std::string& name, const std::string& fallback, const char* help);

  // An error of the maker's own about a value that is well formed.
  void Refuse(const std::string& name, const std::string& why);
  Status Finish() const;
  bool ok() const { return error_.ok(); }
  const std::vector<OptionText>& known() const { return known_; }

 private:
  // The given text, or nothing where the default holds.
  const std::string* Given(const std::string& name, std::string fallback, const char* help);

  EnvOptions given_;
  std::vector<OptionText> known_;
  Status error_;
};

// The names nearest to a misspelt one, at most `most`, best first; all that contain it come first.
std::vector<std::string> NearestNames(std::string_view name, const std::vector<std::string>& names,
                                      std::size_t most = 3);

}  // namespace muster::envs
