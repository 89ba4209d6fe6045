#include "envs/trace.h"

#include <array>
#include <charconv>
#include <cmath>

namespace muster::envs {
namespace {

// The shortest digits that read back as the same double; floats go through double, so that readers
// who compare doubles find them equal too. JSON has no infinities: they are written as Python does.
std::string TraceNumber(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  std::string number(text.data(), end);
  if (number.find_first_of(".e") == std::string::npos) number += ".0";
  return number;
}

std::string Element(ConstValues value, std::size_t i) {
  if (value.dtype == DType::kFloat32) return TraceNumber(value[i]);
  return std::to_string(static_cast<std::int64_t>(value[i]));
}

std::string Nested(const Space& space, ConstValues value, std::size_t depth, std::size_t& at) {
  if (depth == space.shape.size()) return Element(value, at++);
  std::string text = "[";
  for (std::size_t i = 0; i < space.shape[depth]; ++i) {
    text += (i > 0 ? ", " : "") + Nested(space, value, depth + 1, at);
  }
  return text + "]";
}

std::string_view Trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// A number, or a list of them in brackets.
bool ParseNumbers(std::string_view line, std::vector<double>& numbers) {
  const bool list = !line.empty() && line.front() == '[';
  if (list) {
    if (line.size() < 2 || line.back() != ']') return false;
    line = Trimmed(line.substr(1, line.size() - 2));
  }
  for (;;) {
    const std::size_t comma = list ? line.find(',') : std::string_view::npos;
    const std::string_view word = Trimmed(line.substr(0, comma));
    double number = 0;
    const char* const end = word.data() + word.size();
    const auto [stopped, error] = std::from_chars(word.data(), end, number);
    if (word.empty() || error != std::errc() || stopped != end) return false;
    numbers.push_back(number);
    if (comma == std::string_view::npos) return true;
    line.remove_prefix(comma + 1);
  }
}

// Its beginning, without what a terminal would obey.
std::string Quotable(std::string_view line) {
  constexpr std::size_t kCharacters = 60;
  std::string text(line.substr(0, kCharacters));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return line.size() > kCharacters ? text + "..." : text;
}

void WriteReset(const Env& env, std::ostream& out) {
  out << "{\"reset\": true, \"observation\": " << JsonOf(env.spec().observation, env.observation())
      << "}\n";
}

}  // namespace

std::string JsonOf(const Space& space, ConstValues value) {
  std::size_t at = 0;
  return Nested(space, value, 0, at);
}

Result<ValueArray> ParseAction(const Space& space, std::string_view line) {
  std::vector<double> numbers;
  if (!ParseNumbers(Trimmed(line), numbers)) {
    return InvalidArgument("'" + Quotable(line) + "' is neither a number nor a list of numbers");
  }
  if (numbers.size() != space.elements()) {
    return InvalidArgument("an action of " + space.Text() + " has " +
                           std::to_string(space.elements()) + " elements, not " +
                           std::to_string(numbers.size()));
  }
  ValueArray action(space.dtype, numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const bool whole = numbers[i] == std::floor(numbers[i]) && std::abs(numbers[i]) < 2147483648.0;
    if (space.dtype != DType::kFloat32 && !whole) {
      return InvalidArgument("'" + std::string(line) + "' is not a whole number, as " +
                             space.Text() + " needs");
    }
    switch (space.dtype) {
      case DType::kFloat32:
        action.As<float>()[i] = static_cast<float>(numbers[i]);
        break;
      case DType::kInt32:
        action.As<std::int32_t>()[i] = static_cast<std::int32_t>(numbers[i]);
        break;
      case DType::kUint8:
        action.As<std::uint8_t>()[i] = static_cast<std::uint8_t>(numbers[i]);
        break;
    }
  }
  MUSTER_RETURN_IF_ERROR(CheckAction(space, action));
  return action;
}

Status TraceEnv(Env& env, std::uint64_t seed, std::string_view actions, const std::string& file,
                std::ostream& out) {
  const EnvSpec& spec = env.spec();
  MUSTER_RETURN_IF_ERROR(env.Reset(seed));
  WriteReset(env, out);
  for (std::size_t number = 1; !actions.empty(); ++number) {
    const std::size_t end = actions.find('\n');
    const std::string_view line = Trimmed(actions.substr(0, end));
    actions.remove_prefix(end == std::string_view::npos ? actions.size() : end + 1);
    if (line.empty()) continue;
    const std::string place = file + ":" + std::to_string(number);
    Result<ValueArray> action = ParseAction(spec.action, line);
    if (!action.ok()) return action.status().During(place);
    Result<Transition> step = env.Step(*action);
    if (!step.ok()) return step.status().During(place);
    out << "{\"observation\": " << JsonOf(spec.observation, env.observation())
        << ", \"reward\": " << TraceNumber(step->reward)
        << ", \"terminated\": " << (step->terminated ? "true" : "false")
        << ", \"truncated\": " << (step->truncated ? "true" : "false") << "}\n";
    if (step->ended()) {
      MUSTER_RETURN_IF_ERROR(env.Reset());
      WriteReset(env, out);
    }
  }
  return {};
}

}  // namespace muster::envs
