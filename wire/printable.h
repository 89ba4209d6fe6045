// Making text that a user gave fit to be shown in a message: one line, no terminal controls.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace muster::wire {

// `text` with everything that is not printable (controls, invalid UTF-8, invisible and
// direction-changing characters) written as \xNN, cut after about `bytes_max` bytes with "...".
std::string Printable(std::string_view text, std::size_t bytes_max = 80);

// A line that a program has printed, fit for a terminal: tabs and colours (SGR sequences, ended at
// the end of the line) as they are, only what stands after its last carriage return, as a terminal
// would leave it, and everything else that is not printable as \xNN.
std::string TerminalLine(std::string_view line);

// Printable text in single quotes.
std::string Quoted(std::string_view text);

// The shortest text that stands for the number: "4096", "0.001", "1e+15".
std::string NumberText(double number);

// The candidate nearest to `name` by edit distance, or empty when none is near. Of equals the
// first.
std::string Nearest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace muster::wire
