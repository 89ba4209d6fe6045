#include "cli/watch_view.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "cli/metric_rows.h"
#include "cli/terminal.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

constexpr std::array<const char*, 5> kPreferred = {"episode/return", "charts/episodic_return",
                                                   "evaluation/return", "validation/accuracy",
                                                   "train/loss"};

bool IsTime(const std::string& name) { return name.starts_with("time/"); }

// Without characters that the terminal does not show.
std::string Ascii(const std::string& text) {
  std::string ascii;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) ascii += text[i];
    if (byte >= 0xc0) ascii += text.compare(i, 3, "…") == 0 ? '~' : '?';
  }
  return ascii;
}

void AddWrapped(const std::string& text, std::size_t rows_max, const ChartSize& size,
                std::vector<std::string>& lines) {
  std::vector<std::string> wrapped = Wrap(text, size.columns);
  if (wrapped.size() > rows_max) {
    wrapped.resize(std::max<std::size_t>(rows_max, 1));
    wrapped.back() = Cut(wrapped.back() + " …", size.columns);
  }
  for (const std::string& line : wrapped) {
    if (lines.size() < size.rows) lines.push_back(size.unicode ? line : Ascii(line));
  }
}

}  // namespace

Curves::Curves(std::vector<std::string> wanted) {
  for (std::string& name : wanted) {
    if (std::find(wanted_.begin(), wanted_.end(), name) == wanted_.end()) {
      wanted_.push_back(std::move(name));
    }
  }
}

void Curves::Add(const std::string& name, std::uint64_t step, double value) {
  names_.insert(name);
  const bool kept = wanted_.empty()
                        ? !IsTime(name)
                        : std::find(wanted_.begin(), wanted_.end(), name) != wanted_.end();
  if (kept) points_[name].push_back({step, value});
}

void Curves::Take(const v1::MetricsChunk& chunk) {
  if (chunk.has_rewind_to_step()) {
    for (auto& [name, points] : points_) {
      std::erase_if(points,
                    [&](const ChartPoint& point) { return point.step > chunk.rewind_to_step(); });
    }
  }
  ForEachLine(chunk.rows(), [&](std::string_view line) {
    MetricRow row;
    if (!ParseMetricRow(line, row)) return;
    for (const auto& [name, value] : row.values) Add(name, row.step, value);
    for (const std::string& name : row.nulls) {
      Add(name, row.step, std::numeric_limits<double>::quiet_NaN());
    }
  });
}

std::vector<std::string> Curves::shown() const {
  if (!wanted_.empty()) return wanted_;
  for (const char* name : kPreferred) {
    if (!points(name).empty()) return {name};
  }
  for (const auto& [name, points] : points_) {
    if (!points.empty()) return {name};
  }
  return {};
}

const std::vector<ChartPoint>& Curves::points(const std::string& name) const {
  static const std::vector<ChartPoint> kNone;
  const auto found = points_.find(name);
  return found == points_.end() ? kNone : found->second;
}

std::string Curves::MissingText() const {
  const std::vector<std::string> names(names_.begin(), names_.end());
  std::string text;
  for (const std::string& name : wanted_) {
    if (names_.contains(name)) continue;
    text += (text.empty() ? "no metric " : ", no metric ") + wire::Quoted(name);
    const std::string nearest = wire::Nearest(name, names);
    if (!nearest.empty()) text += " (did you mean " + wire::Quoted(nearest) + "?)";
  }
  if (text.empty() || names.empty()) return text;
  text += "; there are:";
  for (const std::string& name : names) {
    if (!IsTime(name)) text += " " + wire::Printable(name);
  }
  return text;
}

std::string NewestText(const Curves& curves) {
  std::string text;
  for (const std::string& name : curves.shown()) {
    const std::vector<ChartPoint>& points = curves.points(name);
    if (points.empty()) continue;
    text += "  " + wire::Printable(name) + " " + MetricText(points.back().value);
  }
  return text;
}

std::vector<std::string> DrawWatch(const std::string& head, const Curves& curves,
                                   const ChartSize& size) {
  std::vector<std::string> lines;
  if (!head.empty()) AddWrapped(head, std::max<std::size_t>(size.rows / 3, 1), size, lines);
  if (!head.empty() && !curves.empty()) {
    const std::string missing = curves.MissingText();
    if (!missing.empty()) AddWrapped(missing, 3, size, lines);
  }
  if (!head.empty() && curves.empty()) AddWrapped("no metrics yet", 1, size, lines);
  std::vector<std::string> names = curves.shown();
  std::erase_if(names, [&](const std::string& name) { return curves.points(name).empty(); });
  std::size_t rows = size.rows - lines.size();
  for (std::size_t i = 0; i < names.size() && rows > 0; ++i) {
    ChartSize one = size;
    one.rows = std::max<std::size_t>(rows / (names.size() - i), 1);
    const std::string title = wire::Printable(names[i]);
    for (std::string& line :
         DrawChart(size.unicode ? title : Ascii(title), curves.points(names[i]), one)) {
      lines.push_back(std::move(line));
    }
    rows -= one.rows;
  }
  return lines;
}

}  // namespace muster::cli
