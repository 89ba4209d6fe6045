#include "wire/toml_guard.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace muster::wire {
namespace {

std::size_t Dots(std::string_view toml) { return ScanToml(toml).longest_dotted_run; }

TEST(TomlGuardTest, CountsDotsOfKeysOnly) {
  EXPECT_EQ(Dots("a.b.c = 1.5"), 2U);
  EXPECT_EQ(Dots("a = [0.1, 0.2, 0.3]"), 1U);
  EXPECT_EQ(Dots("a = '...' # ....\nb = \".\\\"...\"\nc = \"\"\"..\n\"..\"\"\""), 0U);
  EXPECT_EQ(Dots("[\"a\".\"b\".'c'.d]"), 3U);
}

TEST(TomlGuardTest, FindsCharactersBeyondAsciiOutsideOfStrings) {
  EXPECT_EQ(ScanToml("\xEF\xBB\xBFname = '\xC3\xA4' # \xC3\xA4\n").first_foreign,
            std::string_view::npos);
  EXPECT_EQ(ScanToml("n\xEF\xBB\x9F = 1").first_foreign, 1U);
}

// toml++ asks of every character of such a word whether it ends it.
TEST(TomlGuardTest, AQuoteInsideAWordBeginsNoString) {
  for (const std::string& before :
       std::vector<std::string>{"a = 12'n", "a = /\"\"\"e", "a = x.'", "a = [1, 2='", "a = 1='",
                                "a = 12['", "a = \"\"\"\\", "a = \"\"\"x\\\n \t"}) {
    EXPECT_EQ(ScanToml(before + "\xC8\x9E'").first_foreign, before.size()) << before;
  }
}

TEST(TomlGuardTest, EveryStringOfValidTomlIsOne) {
  for (const char* toml : {"a='@'", "a = [ '@','@' ]", "a = ['@', [\"@\"]]\nb = '@'",
                           "a = {b='@', c = ['@'], d='@'}", "'@' = 1", "\"@\"='@'", "[t]\na='@'",
                           "[[t]]\na='@'", "a = '''@'''''\nb='@'", "a = \"\"\"\n@\"\"\"\" # @",
                           "a = [\n'@', # @\n'@']\nb='@'", "a = '\\@'", "a = 1 # don't\nb = '@'"}) {
    std::string text = toml;
    for (std::size_t at = 0; (at = text.find('@', at)) != std::string::npos;) {
      text.replace(at, 1, "\xC3\xA4");
    }
    EXPECT_EQ(ScanToml(text).first_foreign, std::string_view::npos) << text;
  }
}

}  // namespace
}  // namespace muster::wire
