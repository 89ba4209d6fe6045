#include "wire/schema.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "wire/job_file.h"

namespace muster::wire {
namespace {

TEST(SchemaTest, DocumentationIsUpToDate) {
  if (std::getenv("MUSTER_UPDATE_GOLDEN") != nullptr) {
    std::ofstream("docs/job-file.md") << SchemaMarkdown();
  }
  const Result<std::string> written = ReadFile("docs/job-file.md");
  ASSERT_TRUE(written.ok()) << written.status().message();
  EXPECT_EQ(*written, SchemaMarkdown()) << "run: muster schema --markdown > docs/job-file.md";
}

TEST(SchemaTest, ShowsTypeRangeDefaultAndMeaning) {
  const Result<std::string> text = SchemaText("");
  ASSERT_TRUE(text.ok());
  EXPECT_NE(text->find("[supervised.optimizer]"), std::string::npos);
  EXPECT_NE(text->find("  lanes = 1\n      integer, 1 to 4096, a power of two. "),
            std::string::npos);
  EXPECT_NE(text->find("  name (required)\n"), std::string::npos);
}

TEST(SchemaTest, ShowsOneRecipeAlone) {
  const Result<std::string> text = SchemaText("collective");
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text->find("[supervised]"), std::string::npos);
  EXPECT_EQ(SchemaText("ppx").status().message(),
            "no recipe 'ppx'; there are supervised, collective, command, ppo, tabular, vpg");
}

TEST(SchemaTest, WritesOneJsonObjectALine) {
  const Result<std::string> text = SchemaJson("");
  ASSERT_TRUE(text.ok());
  std::istringstream lines(*text);
  std::size_t fields = 0;
  for (std::string line; std::getline(lines, line); ++fields) {
    const nlohmann::json field = nlohmann::json::parse(line);
    EXPECT_FALSE(field["help"].get<std::string>().empty()) << line;
    if (field["field"] == "resources.ranks") {
      EXPECT_EQ(field["maximum"], 4096);
    }
  }
  EXPECT_GT(fields, 40U);
}

}  // namespace
}  // namespace muster::wire
