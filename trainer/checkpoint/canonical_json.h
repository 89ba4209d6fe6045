// JSON with one text for one value, for files whose hash matters.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace muster {

// Keys sorted by byte, no space, numbers with the fewest digits that read back as the same number.
// Throws ContractViolation for NaN and infinities, which JSON does not have, and for text that is
// not UTF-8.
std::string CanonicalJson(const nlohmann::json& value);

// The shortest text that reads back as `value`: "0.1", "1e-05", "3". `value` is finite.
std::string ShortestNumber(double value);

// The double with a float's shortest digits: 0.001, not 0.0010000000474974513.
double Readable(float value);

}  // namespace muster
