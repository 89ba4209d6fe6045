#include "cli/terminal.h"

#include <gtest/gtest.h>

#include <sstream>

namespace muster::cli {
namespace {

TEST(TerminalTest, AlignsTables) {
  EXPECT_EQ(FormatTable({"ID", "NAME"}, {{"1", "äb"}, {"12", "c"}}, 0),
            "ID  NAME\n1   äb\n12  c\n");
}

// Property: no line is wider than the terminal, however narrow that is.
TEST(TerminalTest, TablesFitTheTerminal) {
  const std::vector<std::vector<std::string>> rows = {
      {"1", "a name that is long", "RUNNING", "waits for 4 slots, of which 2 are free: ööö"}};
  for (unsigned columns = 1; columns < 120; ++columns) {
    SCOPED_TRACE(columns);
    std::istringstream lines(FormatTable({"ID", "NAME", "STATE", "REASON"}, rows, columns));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(TextColumns(line), columns);
  }
}

TEST(TerminalTest, WhatHasNoColumnStandsBelowItsRow) {
  const std::vector<std::vector<std::string>> rows = {
      {"7", "classifier", "QUEUED", "-", "waits for 4 slots, of which 2 are free"},
      {"8", "other", "RUNNING", "20/60", "-"}};
  EXPECT_EQ(FormatTable({"ID", "NAME", "STATE", "STEPS", "REASON"}, rows, 40),
            "ID  NAME        STATE    STEPS\n"
            "7   classifier  QUEUED   -\n"
            "  REASON waits for 4 slots, of which 2\n"
            "  are free\n"
            "8   other       RUNNING  20/60\n");
  EXPECT_EQ(FormatTable({"ID", "NAME", "STATE", "STEPS", "REASON"}, rows, 20),
            "ID  NAME\n"
            "7   classifier\n"
            "  STATE QUEUED\n"
            "  REASON waits for 4\n"
            "  slots, of which 2\n"
            "  are free\n"
            "8   other\n"
            "  STATE RUNNING\n"
            "  STEPS 20/60\n");
}

TEST(TerminalTest, BreaksLinesBetweenWords) {
  EXPECT_EQ(Wrap("one two three", 7), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(Wrap("äöüäöü x", 5), (std::vector<std::string>{"äöüä…", "x"}));
  EXPECT_EQ(Wrap("", 5), (std::vector<std::string>{""}));
}

TEST(TerminalTest, CutsBetweenCharacters) {
  EXPECT_EQ(Cut("äöü", 3), "äöü");
  EXPECT_EQ(Cut("äöüx", 3), "äö…");
  EXPECT_EQ(Cut("abc", 1), "…");
  EXPECT_EQ(Cut("abc", 0), "");
}

TEST(TerminalTest, WritesTimesInWords) {
  EXPECT_EQ(DurationText(400), "0.4 s");
  EXPECT_EQ(DurationText(42'000), "42 s");
  EXPECT_EQ(DurationText(200'000), "3 min 20 s");
  EXPECT_EQ(DurationText(7'200'000), "2 h");
  EXPECT_EQ(DurationText(90'000'000), "1 d 1 h");
  EXPECT_EQ(AgoText(0, 5), "-");
  EXPECT_EQ(AgoText(1'000, 13'000), "12 s ago");
  EXPECT_EQ(AgoText(5'000, 1'000), "now") << "clocks of two machines differ";
}

TEST(TerminalTest, WritesSizesAndNumbers) {
  EXPECT_EQ(BytesText(512), "512 B");
  EXPECT_EQ(BytesText(1536), "1.5 KiB");
  EXPECT_EQ(GroupedText(1234567), "1,234,567");
  EXPECT_EQ(GroupedText(999), "999");
}

TEST(TerminalTest, DrawsBars) {
  EXPECT_EQ(Bar(0.5, 12), "[#####-----]");
  EXPECT_EQ(Bar(2.0, 5), "[###]");
  EXPECT_EQ(Bar(-1.0, 0), "[-]");
}

TEST(TerminalTest, IsSilentWhereThereIsNoTerminal) {
  testing::internal::CaptureStderr();
  StatusLine line(2);
  line.Draw("moving");
  line.Print("lasting");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "lasting\n");
}

}  // namespace
}  // namespace muster::cli
