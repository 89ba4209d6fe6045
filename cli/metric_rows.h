// Rows of metrics as they arrive: JSON objects, one a line, with a "step" in each.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace muster::cli {

// One row: its step, and its other numbers by name. Texts are left out.
struct MetricRow {
  std::uint64_t step = 0;
  std::map<std::string, double> values;
  std::vector<std::string> nulls{};  // Names of what was no number that JSON can hold.
};

// False when `line` is no JSON object with a step.
bool ParseMetricRow(std::string_view line, MetricRow& row);

// What is between line breaks, without empty lines.
template <class OnLine>
void ForEachLine(std::string_view text, OnLine on_line) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (const std::string_view line = text.substr(0, end); !line.empty()) on_line(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

// "step 20  train/loss 0.53"; phase times are left to programs.
std::string MetricRowText(const MetricRow& row);

// Rows gathered to their end, in order, without those that a rewind has made void.
class MetricTable {
 public:
  void Add(MetricRow row) { rows_.push_back(std::move(row)); }
  // Rows after `step` are void.
  void Rewind(std::uint64_t step);
  const std::vector<MetricRow>& rows() const { return rows_; }
  // The names of all values in any row, sorted.
  std::vector<std::string> Columns() const;

 private:
  std::vector<MetricRow> rows_;
};

// "step,a,b" and "20,0.5,": a missing value is empty, numbers are the shortest that read back.
std::string CsvHeader(const std::vector<std::string>& columns);
std::string CsvLine(const MetricRow& row, const std::vector<std::string>& columns);

}  // namespace muster::cli
