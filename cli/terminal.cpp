#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "base/check.h"

namespace muster::cli {
namespace {

bool StartsCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; }

template <class... Values>
std::string Printed(const char* format, Values... values) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, values...);
  return buffer.data();
}

}  // namespace

unsigned TerminalColumns(int descriptor) {
  if (::isatty(descriptor) == 0) return 0;
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::size_t TextColumns(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), StartsCharacter));
}

std::string Cut(std::string_view text, std::size_t columns) {
  if (TextColumns(text) <= columns) return std::string(text);
  if (columns == 0) return "";
  std::size_t bytes = 0;
  for (std::size_t seen = 0; bytes < text.size(); ++bytes) {
    if (StartsCharacter(text[bytes]) && ++seen == columns) break;
  }
  return std::string(text.substr(0, bytes)) + "…";
}

std::vector<std::string> Wrap(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines(1);
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    const std::size_t used = TextColumns(lines.back());
    if (used > 0 && used + 1 + TextColumns(word) > columns) {
      lines.emplace_back();
    } else if (used > 0) {
      lines.back() += ' ';
    }
    lines.back() += Cut(word, columns);
  }
  return lines;
}

namespace {

// The widths of the first `count` columns, the widest cut until a line fits; empty when it cannot.
std::vector<std::size_t> FittingWidths(const std::vector<std::size_t>& wanted, std::size_t count,
                                       unsigned columns) {
  constexpr std::size_t kLeast = 8;       // Narrower cells could not be read.
  constexpr std::size_t kLeastText = 24;  // Nor could the last column's, which may be sentences.
  std::vector<std::size_t> widths(wanted.begin(), wanted.begin() + static_cast<long>(count));
  std::size_t total = std::accumulate(widths.begin(), widths.end(), 2 * (count - 1));
  for (; columns > 0 && total > columns; --total) {
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= kLeast) return {};
    --*widest;
  }
  if (count == wanted.size() && widths.back() < std::min(wanted.back(), kLeastText)) return {};
  return widths;
}

// What has no column, below its row.
std::string Below(const std::vector<std::string>& header, const std::vector<std::string>& row,
                  std::size_t shown, unsigned columns) {
  constexpr std::size_t kIndent = 2, kLinesMax = 6;
  if (columns < 4 * kIndent) return "";
  std::string text;
  for (std::size_t i = shown; i < row.size(); ++i) {
    if (!row[i].empty() && row[i] != "-")
      text += (text.empty() ? "" : " ") + header[i] + " " + row[i];
  }
  if (text.empty()) return "";
  std::string lines;
  std::vector<std::string> wrapped = Wrap(text, columns - kIndent);
  for (std::size_t i = 0; i < std::min(wrapped.size(), kLinesMax); ++i) {
    lines += std::string(kIndent, ' ') + wrapped[i] + "\n";
  }
  return lines;
}

}  // namespace

std::string FormatTable(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows, unsigned columns) {
  std::vector<std::size_t> wanted;
  for (const std::string& title : header) wanted.push_back(TextColumns(title));
  for (const auto& row : rows) {
    MUSTER_CHECK(row.size() == header.size(), "a row has another number of cells than the header");
    for (std::size_t i = 0; i < row.size(); ++i) {
      wanted[i] = std::max(wanted[i], TextColumns(row[i]));
    }
  }
  std::vector<std::size_t> widths;
  for (std::size_t count = wanted.size(); count > 0 && widths.empty(); --count) {
    widths = FittingWidths(wanted, count, columns);
  }
  if (widths.empty()) widths = {wanted.front()};
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = Cut(cells[i], widths[i]);
      line += cell + std::string(widths[i] - TextColumns(cell) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += (columns > 0 ? Cut(line, columns) : line) + "\n";
  };
  add_line(header);
  for (const auto& row : rows) {
    add_line(row);
    text += Below(header, row, widths.size(), columns);
  }
  return text;
}

std::string DurationText(std::int64_t duration_ms) {
  const std::int64_t seconds = duration_ms / 1000;
  if (duration_ms < 10'000) return Printed("%.1f s", static_cast<double>(duration_ms) / 1e3);
  const auto two = [](std::int64_t large, const char* large_unit, std::int64_t small,
                      const char* small_unit) {
    std::string text = std::to_string(large) + " " + large_unit;
    if (small > 0) text += " " + std::to_string(small) + " " + small_unit;
    return text;
  };
  if (seconds < 60) return std::to_string(seconds) + " s";
  if (seconds < 3600) return two(seconds / 60, "min", seconds % 60, "s");
  if (seconds < 86400) return two(seconds / 3600, "h", seconds % 3600 / 60, "min");
  return two(seconds / 86400, "d", seconds % 86400 / 3600, "h");
}

std::string AgoText(std::int64_t time_ms, std::int64_t now_ms) {
  if (time_ms == 0) return "-";
  const std::int64_t seconds = (now_ms - time_ms) / 1000;
  if (seconds < 1) return "now";
  if (seconds < 60) return std::to_string(seconds) + " s ago";
  if (seconds < 3600) return std::to_string(seconds / 60) + " min ago";
  if (seconds < 86400) return std::to_string(seconds / 3600) + " h ago";
  return std::to_string(seconds / 86400) + " d ago";
}

std::string Bar(double share, unsigned columns) {
  const unsigned inner = std::max(columns, 3U) - 2;
  const auto full = static_cast<unsigned>(std::clamp(share, 0.0, 1.0) * inner);
  return "[" + std::string(full, '#') + std::string(inner - full, '-') + "]";
}

std::string GroupedText(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
  return text;
}

std::string MetricText(double value) { return Printed("%.4g", value); }

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

StatusLine::StatusLine(int descriptor) : descriptor_(descriptor) {}

void StatusLine::Write(const std::string& text) const {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(descriptor_, text.data() + done, text.size() - done);
    if (wrote <= 0) return;  // Nobody looks any more.
    done += static_cast<std::size_t>(wrote);
  }
}

void StatusLine::Draw(const std::string& text) {
  const unsigned width = columns();
  if (width == 0) return;
  std::string line = Cut(text, width - 1);
  if (line == drawn_) return;
  drawn_ = std::move(line);
  Write("\r\x1b[K" + drawn_);
}

void StatusLine::Clear() {
  if (drawn_.empty()) return;
  drawn_.clear();
  Write("\r\x1b[K");
}

void StatusLine::Print(const std::string& text) {
  const std::string below = drawn_;
  Clear();
  Write(text + "\n");
  if (!below.empty()) Draw(below);
}

TransferBar::TransferBar(std::string label, std::uint64_t bytes_total)
    : label_(std::move(label)),
      bytes_total_(bytes_total),
      begin_ms_(NowMs()),
      drawn_ms_(begin_ms_ + 900),
      line_(STDERR_FILENO) {}

void TransferBar::Add(std::uint64_t bytes) {
  bytes_ += bytes;
  const std::int64_t now_ms = NowMs();
  if (!line_.live() || now_ms < drawn_ms_ + 100 || bytes_total_ == 0) return;
  drawn_ms_ = now_ms;
  const double share = static_cast<double>(bytes_) / static_cast<double>(bytes_total_);
  const auto elapsed_ms = static_cast<double>(now_ms - begin_ms_);
  const auto left_ms = static_cast<std::int64_t>(elapsed_ms * (1 - share) / std::max(share, 1e-6));
  line_.Draw(label_ + " " + Bar(share, 24) + " " + BytesText(bytes_) + " of " +
             BytesText(bytes_total_) + ", " + DurationText(std::max<std::int64_t>(left_ms, 0)) +
             " left");
}

}  // namespace muster::cli
