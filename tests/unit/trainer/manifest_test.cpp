#include "trainer/checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trainer/checkpoint/canonical_json.h"

namespace muster {
namespace {

using testing::HasSubstr;

const std::string kHash(64, 'a');

TEST(ManifestTest, TextIsCanonical) {
  const Manifest manifest{12, {{"model.safetensors", 5, kHash}, {"trainer.json", 0, kHash}}};
  const std::string text = EncodeManifest(manifest);
  EXPECT_EQ(text, R"({"files":[{"path":"model.safetensors","sha256":")" + kHash +
                      R"(","size":5},{"path":"trainer.json","sha256":")" + kHash +
                      R"(","size":0}],"format":1,"step":12})");
  EXPECT_EQ(*ParseManifest(text, "m"), manifest);
}

TEST(ManifestTest, RefusesEveryOtherText) {
  const std::string text = EncodeManifest({12, {{"a", 5, kHash}, {"b", 0, kHash}}});
  const auto refused = [&text](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    const auto manifest = ParseManifest(changed, "m.json");
    return !manifest.ok() && manifest.status().message().find("m.json") == 0;
  };
  EXPECT_TRUE(ParseManifest(text, "m.json").ok());
  EXPECT_TRUE(refused("{", " {"));
  EXPECT_TRUE(refused("12}", "-12}"));
  EXPECT_TRUE(refused("12}", "12.0}"));
  EXPECT_TRUE(refused("\"a\"", "\"c\""));
  EXPECT_TRUE(refused("\"a\"", "\"../a\""));
  EXPECT_TRUE(refused("\"a\"", "\"\""));
  EXPECT_TRUE(refused("\"a\"", "1"));
  EXPECT_TRUE(refused("aaaa", "AAAA"));
  EXPECT_TRUE(refused("aaaa", "aaa"));
  EXPECT_TRUE(refused("\"step\"", "\"extra\":1,\"step\""));
  EXPECT_FALSE(ParseManifest("", "m").ok());
  EXPECT_FALSE(ParseManifest("[1]", "m").ok());
}

TEST(ManifestTest, NamesAnotherFormat) {
  std::string text = EncodeManifest({12, {}});
  text.replace(text.find("\"format\":1"), 10, "\"format\":2");
  const auto manifest = ParseManifest(text, "m");
  EXPECT_EQ(manifest.status().code(), StatusCode::kUnimplemented);
  EXPECT_THAT(manifest.status().message(), HasSubstr("its format is 2"));
}

TEST(CanonicalJsonTest, OneValueHasOneText) {
  const auto json = nlohmann::json::parse(R"({ "b": [1, 2.50, -0.0, 1e300], "a": "x\u00e9\n",
                                               "c": {"z": null, "y": true}, "d": 0.1 })");
  const std::string text = CanonicalJson(json);
  EXPECT_EQ(text,
            "{\"a\":\"x\xc3\xa9\\n\",\"b\":[1,2.5,-0,1e+300],\"c\":{\"y\":true,\"z\":null},"
            "\"d\":0.1}");
  EXPECT_EQ(CanonicalJson(nlohmann::json::parse(R"({"d":0.1})")), "{\"d\":0.1}");
}

TEST(CanonicalJsonTest, RefusesWhatJsonDoesNotHave) {
  EXPECT_THROW(CanonicalJson({{"x", NAN}}), ContractViolation);
  EXPECT_THROW(CanonicalJson({{"x", "\xff"}}), ContractViolation);
}

}  // namespace
}  // namespace muster
