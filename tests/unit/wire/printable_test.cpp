#include "wire/printable.h"

#include <gtest/gtest.h>

namespace muster::wire {
namespace {

TEST(PrintableTest, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(Printable("a\x1b[2Jb\n"), "a\\x1b[2Jb\\x0a");
  EXPECT_EQ(Printable("\xE2\x80\xAEgpj"), "\\xe2\\x80\\xaegpj");  // Right-to-left override.
  EXPECT_EQ(Printable("\xC3\xA4\xFF"), "\xC3\xA4\\xff");
  EXPECT_EQ(Printable("\xC2\x9B"), "\\xc2\\x9b");  // A control character beyond ASCII.
}

TEST(PrintableTest, LeavesTabsAndColoursOfAProgramsLineAndNothingElseThatATerminalObeys) {
  EXPECT_EQ(TerminalLine("a\tb \xC3\xA4"), "a\tb \xC3\xA4");
  EXPECT_EQ(TerminalLine("\x1b[1;31mred"), "\x1b[1;31mred\x1b[0m") << "ended with the line";
  EXPECT_EQ(TerminalLine("\x1b[2J\x1b]0;title\x07"), "\\x1b[2J\\x1b]0;title\\x07");
  EXPECT_EQ(TerminalLine("\x1b[31"), "\\x1b[31");
  EXPECT_EQ(TerminalLine("\xE2\x80\xAEgpj\xFF"), "\\xe2\\x80\\xaegpj\\xff");
  EXPECT_EQ(TerminalLine(" 10 %\r 20 %\r"), " 20 %");
  EXPECT_EQ(TerminalLine("dos\r"), "dos");
  EXPECT_EQ(TerminalLine("\r"), "");
}

TEST(PrintableTest, CutsLongText) {
  EXPECT_EQ(Printable(std::string(200, 'x'), 10), "xxxxxxxxxx...");
  EXPECT_EQ(Printable("xxxxxxxxxx", 10), "xxxxxxxxxx");
}

TEST(PrintableTest, FindsTheNearestName) {
  const std::vector<std::string> names = {"steps", "epochs", "batch_size"};
  EXPECT_EQ(Nearest("step", names), "steps");
  EXPECT_EQ(Nearest("batchsize", names), "batch_size");
  EXPECT_EQ(Nearest("learning", names), "");
  EXPECT_EQ(Nearest("jsno", {"java", "json"}), "json") << "a swap is one slip";
  EXPECT_EQ(Nearest("jxyn", {"json"}), "");
}

TEST(PrintableTest, WritesNumbersShortly) {
  EXPECT_EQ(NumberText(4096), "4096");
  EXPECT_EQ(NumberText(1e15), "1e+15");
  EXPECT_EQ(NumberText(0.001), "0.001");
}

}  // namespace
}  // namespace muster::wire
