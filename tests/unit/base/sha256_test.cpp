#include "base/sha256.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

// Examples of FIPS 180-4 (NIST's published test vectors).
TEST(Sha256Test, MatchesPublishedVectors) {
  EXPECT_EQ(Sha256Of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Test, PiecesMakeTheWhole) {
  Sha256 hash;
  hash.Update("a", 1);
  hash.Update("bc", 2);
  EXPECT_EQ(hash.Finish(), Sha256Of("abc"));
}

TEST(Sha256Test, MissingFileIsNamed) {
  const auto digest = Sha256OfFile("/nowhere/at/all");
  EXPECT_EQ(digest.status().code(), StatusCode::kNotFound);
  EXPECT_NE(digest.status().message().find("/nowhere/at/all"), std::string::npos);
}

}  // namespace
}  // namespace muster
