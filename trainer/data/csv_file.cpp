#include "trainer/data/csv_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>

#include "base/sha256.h"

namespace muster {
namespace {

constexpr std::size_t kColumnsMax = 1U << 20U;
// Text seldom packs better than 20 : 1, a bomb 1000 : 1; so this part of what is possible is
// allowed, and a small file is let be.
constexpr std::uint64_t kInflationShare = 10;
constexpr std::uint64_t kTextBytesMin = 64ULL << 20U;
constexpr std::size_t kDerivedHeaderBytes = 64;

std::string_view Trimmed(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text.remove_prefix(1);
    text.remove_suffix(1);
  }
  return text;
}

class CsvParser {
 public:
  CsvParser(std::string_view text, const CsvOptions& options) : rest_(text), options_(options) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // Of spreadsheets.
    if (rest_.substr(0, 3) == kByteOrderMark) rest_.remove_prefix(3);
  }

  Result<CsvTable> Parse() {
    if (!NextLine()) return InvalidArgument(options_.path + ": the file is empty");
    MUSTER_RETURN_IF_ERROR(StartColumns());
    bool more = !options_.header || NextLine();
    if (!more) return InvalidArgument(options_.path + ": no samples after the header");
    for (; more; more = NextLine()) MUSTER_RETURN_IF_ERROR(ParseSample());
    return std::move(table_);
  }

  // The header's, without the label's; none where there is no header. Instead of Parse.
  Result<std::vector<std::string>> FeatureNames() {
    if (!options_.header) return std::vector<std::string>();
    if (!NextLine()) return InvalidArgument(options_.path + ": the file is empty");
    MUSTER_RETURN_IF_ERROR(StartColumns());
    names_.erase(names_.begin() + static_cast<std::ptrdiff_t>(label_));
    return std::move(names_);
  }

 private:
  // The next line that is not empty, split into `fields_`.
  bool NextLine() {
    while (!rest_.empty()) {
      const std::size_t end = std::min(rest_.find('\n'), rest_.size());
      const std::string_view line = Trimmed(rest_.substr(0, end));
      const std::string_view whole = rest_.substr(0, end);
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      ++line_;
      if (line.empty()) continue;
      Split(whole);
      return true;
    }
    return false;
  }

  void Split(std::string_view line) {
    fields_.clear();
    for (std::size_t start = 0;;) {
      const std::size_t end = std::min(line.find(',', start), line.size());
      fields_.push_back(Trimmed(line.substr(start, end - start)));
      if (end == line.size() || fields_.size() > kColumnsMax) return;
      start = end + 1;
    }
  }

  Status At(std::size_t column, const std::string& what) const {
    return InvalidArgument(options_.path + ":" + std::to_string(line_) + ":" +
                           std::to_string(column + 1) + ": " + what);
  }

  // Learns from the first line how many columns there are and which one is the label.
  Status StartColumns() {
    columns_ = fields_.size();
    if (columns_ > kColumnsMax) {
      return At(kColumnsMax, "more than " + std::to_string(kColumnsMax) + " columns");
    }
    if (columns_ < 2) return At(0, "one column; a sample needs a label and at least one feature");
    table_.columns = columns_ - 1;
    if (options_.header) names_.assign(fields_.begin(), fields_.end());
    MUSTER_RETURN_IF_ERROR(FindLabel());
    table_.label_name = names_.empty() ? "column " + std::to_string(label_) : names_[label_];
    return {};
  }

  Status FindLabel() {
    const std::string& wanted = options_.label_column;
    label_ = columns_ - 1;
    if (wanted.empty()) return {};
    const auto named = std::find(names_.begin(), names_.end(), wanted);
    if (named != names_.end()) {
      label_ = static_cast<std::size_t>(named - names_.begin());
      return {};
    }
    const char* end = wanted.data() + wanted.size();
    const auto [stop, error] = std::from_chars(wanted.data(), end, label_);
    if (error == std::errc() && stop == end && label_ < columns_) return {};
    return At(0, "no column " + Quoted(wanted) + " for the label" +
                     (options_.header ? " in this header" : "") + "; columns are 0 to " +
                     std::to_string(columns_ - 1));
  }

  Result<double> Number(std::size_t column) const {
    std::string_view field = fields_[column];
    if (field.size() > 1 && field[0] == '+' && field[1] != '-') field.remove_prefix(1);
    double value = 0;
    const char* end = field.data() + field.size();
    const auto [stop, error] = std::from_chars(field.data(), end, value);
    if (error == std::errc::result_out_of_range) {
      return At(column, Quoted(field) + Named(column) + " is out of a number's range");
    }
    if (error != std::errc() || stop != end || field.empty()) {
      return At(column, Quoted(field) + Named(column) + " is not a number");
    }
    if (!std::isfinite(static_cast<float>(value))) {
      return At(column, Quoted(field) + Named(column) + " is not a finite 32-bit number");
    }
    return value;
  }

  std::string Named(std::size_t column) const {
    return names_.empty() ? "" : " in column " + Quoted(names_[column]);
  }

  Status ParseSample() {
    if (fields_.size() != columns_) {
      return At(std::min(fields_.size(), columns_), std::to_string(fields_.size()) +
                                                        " columns where the first line has " +
                                                        std::to_string(columns_));
    }
    for (std::size_t column = 0; column < columns_; ++column) {
      MUSTER_ASSIGN_OR_RETURN(const double value, Number(column));
      if (column != label_) {
        table_.features.push_back(static_cast<float>(value));
        continue;
      }
      const std::int32_t classes = options_.classes > 0 ? options_.classes : kClassesMax;
      if (value < 0 || value >= classes || value != std::floor(value)) {
        return At(column, "label " + Quoted(fields_[column]) +
                              " is out of range; labels are whole numbers from 0 to " +
                              std::to_string(classes - 1));
      }
      table_.labels.push_back(static_cast<std::int32_t>(value));
    }
    return {};
  }

  std::string_view rest_;
  const CsvOptions& options_;
  std::size_t line_ = 0;
  std::vector<std::string_view> fields_;
  std::vector<std::string> names_;
  std::size_t columns_ = 0;
  std::size_t label_ = 0;
  CsvTable table_;
};

// Parsed form: [samples u64, columns u64, zeros up to 64 bytes], features f32, labels i32.
std::vector<std::byte> Encode(const CsvTable& table) {
  const std::uint64_t head[2] = {table.labels.size(), table.columns};
  const std::size_t feature_bytes = table.features.size() * sizeof(float);
  const std::size_t label_bytes = table.labels.size() * sizeof(std::int32_t);
  std::vector<std::byte> bytes(kDerivedHeaderBytes + feature_bytes + label_bytes);
  std::memcpy(bytes.data(), head, sizeof(head));
  std::memcpy(bytes.data() + kDerivedHeaderBytes, table.features.data(), feature_bytes);
  std::memcpy(bytes.data() + kDerivedHeaderBytes + feature_bytes, table.labels.data(), label_bytes);
  return bytes;
}

Status Decode(std::span<const std::byte> bytes, const CsvOptions& options, Dataset& set) {
  const Status damaged =
      DataLoss(options.path + ": its parsed copy in the data cache is damaged; " +
               "remove the cache's folder and try again");
  std::uint64_t head[2] = {};
  if (bytes.size() < kDerivedHeaderBytes) return damaged;
  std::memcpy(head, bytes.data(), sizeof(head));
  const std::uint64_t words = (bytes.size() - kDerivedHeaderBytes) / sizeof(float);
  if (head[0] == 0 || head[1] == 0 || head[1] > kColumnsMax || words % head[0] != 0 ||
      words / head[0] != head[1] + 1) {
    return damaged;
  }
  set.samples = head[0];
  set.shape = {1, 1, head[1]};
  const auto* features = reinterpret_cast<const float*>(bytes.data() + kDerivedHeaderBytes);
  set.f32 = {features, head[0] * head[1]};
  set.labels.resize(head[0]);
  std::memcpy(set.labels.data(), features + set.f32.size(), head[0] * sizeof(std::int32_t));
  return {};
}

}  // namespace

std::string Quoted(std::string_view field) {
  std::string shown;
  for (const char c : field.substr(0, 32)) shown += c >= ' ' && c <= '~' ? c : '?';
  return "'" + shown + (field.size() > 32 ? "...'" : "'");
}

Result<CsvTable> ParseCsv(std::string_view text, const CsvOptions& options) {
  return CsvParser(text, options).Parse();
}

Result<Dataset> ReadCsv(DataCache& cache, const CsvOptions& options) {
  const auto limit_of = [](const DataCache::FileStart& start) -> Result<std::uint64_t> {
    if (!start.compressed) return start.possible_bytes;
    return std::max(kTextBytesMin, start.possible_bytes / kInflationShare);
  };
  MUSTER_ASSIGN_OR_RETURN(const auto text, cache.Open(options.path, limit_of));
  const std::string_view all(reinterpret_cast<const char*>(text->bytes().data()),
                             text->bytes().size());
  Dataset set;
  MUSTER_ASSIGN_OR_RETURN(set.feature_names, CsvParser(all, options).FeatureNames());
  set.sha256 = Sha256Of("csv 1 " + text->sha256() + (options.header ? " header " : " plain ") +
                        std::to_string(options.classes) + " " + options.label_column);
  MUSTER_ASSIGN_OR_RETURN(const auto parsed,
                          cache.OpenDerived(set.sha256, [&]() -> Result<std::vector<std::byte>> {
                            MUSTER_ASSIGN_OR_RETURN(const CsvTable table, ParseCsv(all, options));
                            return Encode(table);
                          }));
  MUSTER_RETURN_IF_ERROR(Decode(parsed->bytes(), options, set));
  set.classes = options.classes;
  if (set.classes == 0) set.classes = *std::max_element(set.labels.begin(), set.labels.end()) + 1;
  if (options.shape.count() != 0) {
    if (options.shape.count() != set.shape.count()) {
      return InvalidArgument(options.path + ":1:1: " + std::to_string(set.shape.count()) +
                             " features a line do not make " + ToString(options.shape));
    }
    set.shape = options.shape;
  }
  for (const auto& file : {text, parsed}) {
    if (!file->note().empty()) set.notes.push_back(file->note());
  }
  set.owners.push_back(parsed);
  return set;
}

}  // namespace muster
