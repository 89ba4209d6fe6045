#include "wire/toml_guard.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace muster::wire
