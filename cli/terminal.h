// What a terminal shows: tables that fit it, a progress line that is redrawn, times in words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes_text.h"

namespace muster::cli {

// Columns of the terminal behind `descriptor`; 0 when it is none. (A terminal that does not say
// has 80.)
unsigned TerminalColumns(int descriptor);

// Characters that `text` takes, counting UTF-8 characters.
std::size_t TextColumns(std::string_view text);

// `text` cut to `columns` characters, the last one "…" when something was cut.
std::string Cut(std::string_view text, std::size_t columns);

// Lines of at most `columns` characters, broken between words; a longer word is cut.
std::vector<std::string> Wrap(std::string_view text, std::size_t columns);

// Rows under a header, columns aligned with two spaces between. With `columns` > 0 the widest
// column is cut until a line fits; where cells would become too narrow to read, the last ones
// stand below their row, indented and with their titles. Ends with a line break. Every row has as
// many cells as `header`.
std::string FormatTable(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows, unsigned columns);

// "0.4 s", "42 s", "3 min 20 s", "2 h 5 min", "4 d 3 h".
std::string DurationText(std::int64_t duration_ms);

// "12 s ago"; "-" for time_ms == 0 (never), "now" below one second.
std::string AgoText(std::int64_t time_ms, std::int64_t now_ms);

// "[#####-----]" of `columns` characters in all, at least 3; share in [0, 1].
std::string Bar(double share, unsigned columns);

// "1,234,567".
std::string GroupedText(std::uint64_t number);

// Up to four significant digits, as metrics are shown: "0.9123", "1.5e-05".
std::string MetricText(double value);

// Unix time in milliseconds.
std::int64_t NowMs();

// One line at the bottom of a terminal that is drawn anew; draws nothing where there is none.
// Not thread-safe.
class StatusLine {
 public:
  explicit StatusLine(int descriptor);
  ~StatusLine() { Clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  bool live() const { return columns() > 0; }
  unsigned columns() const { return TerminalColumns(descriptor_); }
  // Replaces the line, cut to the terminal's present width.
  void Draw(const std::string& text);
  void Clear();
  // Prints a lasting line above the status line; also where there is no terminal.
  void Print(const std::string& text);

 private:
  void Write(const std::string& text) const;

  int descriptor_;
  std::string drawn_;
};

// A transfer's progress: nothing for the first second, then bar, rate and time left, at most ten
// times a second.
class TransferBar {
 public:
  TransferBar(std::string label, std::uint64_t bytes_total);
  void Add(std::uint64_t bytes);

 private:
  std::string label_;
  std::uint64_t bytes_total_;
  std::uint64_t bytes_ = 0;
  std::int64_t begin_ms_;
  std::int64_t drawn_ms_;
  StatusLine line_;
};

}  // namespace muster::cli
