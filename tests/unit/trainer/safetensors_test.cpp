#include "trainer/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// A file around a header, as another program may write it.
std::string FileOf(const std::string& header, const std::string& data) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i));
  return file + header + data;
}

std::string Refusal(const std::string& header, const std::string& data = "12345678") {
  const auto arrays = ParseSafetensors(BytesOf(FileOf(header, data)), "m.safetensors");
  return arrays.ok() ? "accepted" : arrays.status().message();
}

const std::vector<float> kWeights = {1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F};
const std::vector<std::int64_t> kPositions = {7};

TEST(SafetensorsTest, FileIsTheFormatsByteForByte) {
  const std::string file =
      EncodeSafetensors({{"w", ViewOf(kWeights, {2, 3})}, {"a.position", ViewOf(kPositions, {})}});
  const std::string header = R"({"a.position":{"data_offsets":[0,8],"dtype":"I64","shape":[]},)"
                             R"("w":{"data_offsets":[8,32],"dtype":"F32","shape":[2,3]}})";
  EXPECT_EQ((8 + file[0]) % 64, 0);
  EXPECT_EQ(file.substr(8, header.size()), header);
  EXPECT_EQ(file.size(), 8U + static_cast<std::size_t>(file[0]) + 32U);
  EXPECT_EQ(file.substr(file.size() - 32, 8), std::string("\7\0\0\0\0\0\0\0", 8));
}

TEST(SafetensorsTest, ReadsWhatItWrote) {
  const NamedArrays written = {{"w", ViewOf(kWeights, {2, 3})}, {"n", ViewOf(kPositions, {1})}};
  const std::string file = EncodeSafetensors(written);
  const auto read = ParseSafetensors(BytesOf(file), "m");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_THAT(read->at("w").f32(), testing::ElementsAreArray(kWeights));
  EXPECT_THAT(read->at("w").shape, ElementsAre(2, 3));
  EXPECT_THAT(read->at("n").i64(), ElementsAre(7));
  EXPECT_EQ(EncodeSafetensors(*read), file);
  EXPECT_THROW(static_cast<void>(read->at("w").i64()), ContractViolation);
}

TEST(SafetensorsTest, ReadsEveryTypeItWrote) {
  const std::vector<double> tables = {0.1, -1e300};
  const std::vector<std::uint8_t> bytes = {0, 255, 7, 1, 2, 3, 4, 5};
  const NamedArrays written = {{"b", ViewOf(bytes, {2, 4})},
                               {"f", ViewOf(kWeights, {6})},
                               {"q", ViewOf(tables, {2})},
                               {"n", ViewOf(kPositions, {1})}};
  const std::string file = EncodeSafetensors(written);
  EXPECT_THAT(file, HasSubstr(R"("b":{"data_offsets":[0,8],"dtype":"U8","shape":[2,4]})"));
  EXPECT_THAT(file, HasSubstr(R"("dtype":"F64","shape":[2])"));
  const auto read = ParseSafetensors(BytesOf(file), "m");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_THAT(read->at("b").u8(), testing::ElementsAreArray(bytes));
  EXPECT_THAT(read->at("q").f64(), testing::ElementsAreArray(tables));
  EXPECT_EQ(EncodeSafetensors(*read), file);
  EXPECT_THROW(static_cast<void>(read->at("q").f32()), ContractViolation);
}

TEST(SafetensorsTest, NoArraysAreAFileToo) {
  const std::string file = EncodeSafetensors({});
  EXPECT_EQ(file.size(), 64U);
  EXPECT_TRUE(ParseSafetensors(BytesOf(file), "m")->empty());
}

TEST(SafetensorsTest, ReadsOtherProgramsFiles) {
  const std::string file = FileOf(R"({"__metadata__":{"format":"pt"},)"
                                  R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                  R"("a":{"shape":[1],"dtype":"F32","data_offsets":[4,8]}}  )",
                                  "12345678");
  const auto read = ParseSafetensors(BytesOf(file), "m");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(static_cast<char>(read->at("b").bytes[0]), '1');
  EXPECT_EQ(static_cast<char>(read->at("a").bytes[0]), '5');
}

TEST(SafetensorsTest, RefusesWhatDoesNotCoverTheFileExactlyOnce) {
  const std::string a = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const std::string b = R"("b":{"dtype":"F32","shape":[1],"data_offsets":)";
  EXPECT_EQ(Refusal(a + "," + b + "[4,8]}}"), "accepted");
  EXPECT_THAT(Refusal(a + "}"), HasSubstr("m.safetensors: bytes after the last array"));
  EXPECT_THAT(Refusal(a + "," + b + "[0,4]}}"), HasSubstr("overlap or leave a gap"));
  EXPECT_THAT(Refusal(a + "," + b + "[5,9]}}", "123456789"), HasSubstr("overlap or leave a gap"));
  EXPECT_THAT(Refusal(a + "," + b + "[4,8]}}", "1234567"), HasSubstr("b ends beyond the file"));
}

TEST(SafetensorsTest, RefusesHeadersThatSayNothingClear) {
  EXPECT_THAT(Refusal("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Refusal("{"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Refusal(std::string(200'000, '[')), HasSubstr("not a JSON object"));
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_EQ(Refusal("{" + a + "}"), "accepted");
  EXPECT_THAT(Refusal("{" + a + "," + a + "}"), HasSubstr("names something twice"));
  EXPECT_THAT(Refusal(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,8]}})"),
              HasSubstr("a: its type is none of F32, F64, I64 and U8"));
  EXPECT_THAT(Refusal(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})"),
              HasSubstr("do not fit its shape"));
  EXPECT_THAT(Refusal(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})"),
              HasSubstr("its shape is no shape"));
  EXPECT_THAT(Refusal(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],)"
                      R"("data_offsets":[0,0]}})"),
              HasSubstr("too large"));
  EXPECT_THAT(Refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})"),
              HasSubstr("do not fit its shape"));
  EXPECT_THAT(Refusal(R"({"a":{"dtype":"F32","shape":[2]}})"), HasSubstr("and nothing else"));
  EXPECT_THAT(ParseSafetensors(BytesOf("1234567"), "m").status().message(), HasSubstr("too short"));
  EXPECT_THAT(ParseSafetensors(BytesOf(std::string(64, '\xff')), "m").status().message(),
              HasSubstr("does not fit the file's 64"));
}

// Property: no damage crashes the reader, and what it accepts lies inside the file.
TEST(SafetensorsTest, SurvivesRandomDamage) {
  const std::string good =
      EncodeSafetensors({{"w", ViewOf(kWeights, {2, 3})}, {"n", ViewOf(kPositions, {1})}});
  for (unsigned seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string file = good;
    for (unsigned flips = random() % 3 + 1; flips > 0; --flips) {
      file[random() % file.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) file.resize(random() % file.size());
    const auto arrays = ParseSafetensors(BytesOf(file), "m");
    if (!arrays.ok()) continue;
    for (const auto& [name, array] : *arrays) {
      EXPECT_GE(reinterpret_cast<const char*>(array.bytes.data()), file.data());
      EXPECT_LE(reinterpret_cast<const char*>(array.bytes.data()) + array.bytes.size(),
                file.data() + file.size());
    }
  }
}

}  // namespace
}  // namespace muster
