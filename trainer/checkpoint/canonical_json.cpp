#include "trainer/checkpoint/canonical_json.h"

#include <charconv>
#include <cmath>

#include "base/check.h"

namespace muster {
namespace {

// nlohmann's own escaping is canonical already; its errors (bad UTF-8) become a broken contract.
std::string QuotedText(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception& error) {
    FailCheck(__FILE__, __LINE__, "UTF-8", error.what());
  }
}

void Append(const nlohmann::json& value, std::string& out) {
  if (value.is_object()) {
    out += '{';
    for (auto entry = value.begin(); entry != value.end(); ++entry) {
      if (entry != value.begin()) out += ',';
      out += QuotedText(entry.key()) + ":";
      Append(*entry, out);
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    for (auto entry = value.begin(); entry != value.end(); ++entry) {
      if (entry != value.begin()) out += ',';
      Append(*entry, out);
    }
    out += ']';
  } else if (value.is_number_float()) {
    out += ShortestNumber(value.get<double>());
  } else if (value.is_string()) {
    out += QuotedText(value.get_ref<const std::string&>());
  } else {
    out += value.dump();  // Whole numbers, booleans, null.
  }
}

}  // namespace

std::string CanonicalJson(const nlohmann::json& value) {
  std::string out;
  Append(value, out);
  return out;
}

std::string ShortestNumber(double value) {
  MUSTER_CHECK(std::isfinite(value), "a number of JSON is finite");
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  MUSTER_CHECK(error == std::errc(), "a double takes at most 24 characters");
  return {text, end};
}

double Readable(float value) {
  char text[32];
  const char* const end = std::to_chars(text, text + sizeof(text), value).ptr;
  double readable = 0.0;
  std::from_chars(text, end, readable);
  return readable;
}

}  // namespace muster
