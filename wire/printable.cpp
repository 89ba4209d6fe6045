#include "wire/printable.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <utility>

namespace muster::wire {
namespace {

struct Decoded {
  std::uint32_t character = 0;
  std::size_t bytes = 0;  // 0 = not UTF-8.
};

Decoded DecodeFirst(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < bytes) return {};
  std::uint32_t character = lead & (0x7FU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xC0U) != 0x80U) return {};
    character = (character << 6U) | (next & 0x3FU);
  }
  constexpr std::array<std::uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  if (character < kSmallest[bytes] || character > 0x10FFFF) return {};
  return {character, bytes};
}

bool CanBeShown(std::uint32_t c) {
  if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return false;
  if ((c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E)) return false;
  return !(c >= 0x2060 && c <= 0x206F) && !(c >= 0xD800 && c <= 0xF8FF) && c != 0xFEFF &&
         !(c >= 0xFFF0 && c <= 0xFFFF) && c < 0xE0000;
}

// Moves the first character of `text`, which is not empty, to `shown`.
void ShowFirst(std::string_view& text, std::string& shown) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const Decoded first = DecodeFirst(text);
  const std::size_t bytes = std::max<std::size_t>(first.bytes, 1);
  if (first.bytes > 0 && CanBeShown(first.character)) {
    shown += text.substr(0, bytes);
  } else {
    for (const char byte : text.substr(0, bytes)) {
      const auto value = static_cast<unsigned char>(byte);
      shown += {'\\', 'x', kHex[value >> 4U], kHex[value & 0xFU]};
    }
  }
  text.remove_prefix(bytes);
}

// The bytes of the SGR sequence (ESC [ digits and semicolons m) that `text` begins with; 0 = none.
std::size_t ColourBytes(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const std::size_t end = text.find_first_not_of("0123456789;", 2);
  return end != std::string_view::npos && text[end] == 'm' ? end + 1 : 0;
}

}  // namespace

std::string Printable(std::string_view text, std::size_t bytes_max) {
  std::string shown;
  while (!text.empty()) {
    if (shown.size() >= bytes_max) return shown + "...";
    ShowFirst(text, shown);
  }
  return shown;
}

std::string TerminalLine(std::string_view line) {
  while (line.ends_with('\r')) line.remove_suffix(1);
  line.remove_prefix(line.rfind('\r') + 1);  // npos + 1 = 0.
  std::string shown;
  bool coloured = false;
  while (!line.empty()) {
    const std::size_t colour = ColourBytes(line);
    const std::size_t as_it_is = line[0] == '\t' ? 1 : colour;
    coloured = coloured || colour > 0;
    shown += line.substr(0, as_it_is);
    line.remove_prefix(as_it_is);
    if (as_it_is == 0) ShowFirst(line, shown);
  }
  return coloured ? shown + "\x1b[0m" : shown;
}

std::string Quoted(std::string_view text) { return "'" + Printable(text) + "'"; }

std::string NumberText(double number) {
  std::array<char, 64> buffer{};
  const bool whole = std::abs(number) < 1e13 && std::trunc(number) == number;
  const std::to_chars_result end =
      whole ? std::to_chars(buffer.data(), buffer.data() + buffer.size(),
                            static_cast<std::int64_t>(number))
            : std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
  return {buffer.data(), end.ptr};
}

namespace {

// Insertions, deletions, changes and swaps of neighbours (optimal string alignment).
std::size_t Distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> before(to.size() + 1), last(to.size() + 1), row(to.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < from.size(); ++i) {
    before.swap(last);
    last.swap(row);
    row[0] = i + 1;
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t change = last[j] + (from[i] == to[j] ? 0 : 1);
      row[j + 1] = std::min({change, row[j] + 1, last[j + 1] + 1});
      if (i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j]) {
        row[j + 1] = std::min(row[j + 1], before[j - 1] + 1);
      }
    }
  }
  return row.back();
}

}  // namespace

std::string Nearest(std::string_view name, const std::vector<std::string>& candidates) {
  constexpr std::size_t kLengthMax = 64;  // Longer names are no slip of the finger.
  if (name.size() > kLengthMax) return "";
  std::size_t best = std::max<std::size_t>(1, name.size() / 3) + 1;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = Distance(name, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace muster::wire
