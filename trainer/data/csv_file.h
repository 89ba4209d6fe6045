// Numeric CSV (RFC 4180 without line breaks in fields): one sample a line, one column its label.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "trainer/data/data_cache.h"
#include "trainer/data/dataset.h"

namespace muster {

struct CsvOptions {
  std::string path{};           // Plain or gzip-compressed.
  bool header = true;           // The first line names the columns.
  std::string label_column{};   // A name of the header, or a number from 0; empty: the last column.
  std::int32_t classes = 0;     // 0: the largest label + 1.
  FeatureShape shape{0, 0, 0};  // 0x0x0: a vector. Otherwise its count is that of the features.
};

struct CsvTable {
  std::size_t columns = 0;           // Features: all columns but the label's, in their order.
  std::vector<float> features;       // [samples, columns], finite.
  std::vector<std::int32_t> labels;  // [samples], at least 0 and below kClassesMax.
  std::string label_name;            // As messages name it: a header's word or "column 5".
};

// What a message shows of a field: never a whole binary file.
std::string Quoted(std::string_view field);

// Reads a whole text. Numbers are decimal with a point; space around them is skipped, so are empty
// lines; a field may stand in double quotes. Errors start with path:line:column, line and column
// (the field's number in its line) counted from 1, and quote the field.
Result<CsvTable> ParseCsv(std::string_view text, const CsvOptions& options);

// The same as a data set. What was parsed is kept in the cache by content, so a second read costs a
// map and the labels.
Result<Dataset> ReadCsv(DataCache& cache, const CsvOptions& options);

}  // namespace muster
