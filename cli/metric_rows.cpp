#include "cli/metric_rows.h"

#include <nlohmann/json.hpp>
#include <set>

#include "cli/terminal.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

std::string CsvText(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

bool ParseMetricRow(std::string_view line, MetricRow& row) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("step") || !json["step"].is_number_unsigned()) {
    return false;
  }
  row = MetricRow();
  row.step = json["step"].get<std::uint64_t>();
  for (const auto& [name, value] : json.items()) {
    if (name != "step" && value.is_number()) row.values[name] = value.get<double>();
    if (value.is_null()) row.nulls.push_back(name);
  }
  return true;
}

std::string MetricRowText(const MetricRow& row) {
  std::string text = "step " + GroupedText(row.step);
  for (const auto& [name, value] : row.values) {
    if (name.starts_with("time/")) continue;
    text += "  " + wire::Printable(name) + " " + MetricText(value);
  }
  return text;
}

void MetricTable::Rewind(std::uint64_t step) {
  std::erase_if(rows_, [&](const MetricRow& row) { return row.step > step; });
}

std::vector<std::string> MetricTable::Columns() const {
  std::set<std::string> names;
  for (const MetricRow& row : rows_) {
    for (const auto& [name, value] : row.values) names.insert(name);
  }
  return {names.begin(), names.end()};
}

std::string CsvHeader(const std::vector<std::string>& columns) {
  std::string line = "step";
  for (const std::string& column : columns) line += "," + CsvText(column);
  return line;
}

std::string CsvLine(const MetricRow& row, const std::vector<std::string>& columns) {
  std::string line = std::to_string(row.step);
  for (const std::string& column : columns) {
    const auto value = row.values.find(column);
    line += "," + (value == row.values.end() ? std::string() : wire::JsonNumber(value->second));
  }
  return line;
}

}  // namespace muster::cli
