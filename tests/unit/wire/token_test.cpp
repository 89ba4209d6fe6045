#include "wire/token.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/sha256.h"
#include "tests/support/temporary_directory.h"

namespace muster::wire {
namespace {

unsigned ModeOf(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777U;
}

TEST(TokenTest, NewTokensAreLongHexadecimalAndDiffer) {
  const std::string token = NewToken();
  EXPECT_EQ(token.size(), 64U);
  EXPECT_EQ(token.find_first_not_of("0123456789abcdef"), std::string::npos) << token;
  EXPECT_NE(token, NewToken());
}

TEST(TokenTest, TheFileIsMadeForItsOwnerAloneWhateverTheUmask) {
  const TemporaryDirectory folder;
  const std::string path = folder / "user.token";
  const mode_t before = ::umask(0);
  const Result<std::string> token = ReadOrCreateToken(path);
  ::umask(before);
  ASSERT_TRUE(token.ok()) << token.status().message();
  EXPECT_EQ(ModeOf(path), 0600U);
  EXPECT_EQ(*ReadToken(path), *token);
  EXPECT_EQ(*ReadOrCreateToken(path), *token) << "made once";
}

TEST(TokenTest, AFileThatOthersMayReadOrWriteIsRefusedWithTheRemedy) {
  const TemporaryDirectory folder;
  const std::string path = folder / "user.token";
  ASSERT_TRUE(WriteFileAtomically(path, "secret\n").ok());
  for (const unsigned mode : {0640U, 0604U, 0620U, 0602U, 0644U, 0666U}) {
    SCOPED_TRACE(mode);
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    const Status refused = ReadToken(path).status();
    EXPECT_EQ(refused.code(), StatusCode::kPermissionDenied);
    EXPECT_EQ(refused.message(),
              "token file " + path + " can be read by others; run: chmod 600 " + path);
    EXPECT_EQ(ReadOrCreateToken(path).status().code(), StatusCode::kPermissionDenied);
    EXPECT_EQ(ModeOf(path), mode) << "the file is left as it is";
  }
  ASSERT_EQ(::chmod(path.c_str(), 0400), 0);
  EXPECT_EQ(*ReadToken(path), "secret");
}

TEST(TokenTest, WhiteSpaceAtTheEndIsNoPartOfTheToken) {
  const TemporaryDirectory folder;
  const std::string path = folder / "user.token";
  ASSERT_TRUE(WriteFileAtomically(path, "secret \r\n\n", 0600).ok());
  EXPECT_EQ(*ReadToken(path), "secret");
}

TEST(TokenTest, NamesAFileThatIsMissingEmptyOrNoFile) {
  const TemporaryDirectory folder;
  const std::string path = folder / "user.token";
  EXPECT_EQ(ReadToken(path).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ReadToken(path).status().message(),
            "token file " + path + ": No such file or directory");
  ASSERT_TRUE(WriteFileAtomically(path, " \n", 0600).ok());
  EXPECT_EQ(ReadToken(path).status().message(), "token file " + path + " is empty");
  EXPECT_FALSE(ReadOrCreateToken(path).ok()) << "an empty file is not overwritten";
  EXPECT_FALSE(ReadToken(folder.path()).ok());
  ASSERT_TRUE(WriteFileAtomically(path, std::string(4097, 'x'), 0600).ok());
  EXPECT_FALSE(ReadToken(path).ok());
}

TEST(TokenTest, MatchesTheDigestOfTheSameTokenOnly) {
  const std::string token = NewToken();
  const std::string digest = Sha256Of(token);
  EXPECT_TRUE(TokenMatches(token, digest));
  EXPECT_FALSE(TokenMatches(token + " ", digest));
  EXPECT_FALSE(TokenMatches("", digest));
  EXPECT_FALSE(TokenMatches(token, ""));
  EXPECT_FALSE(TokenMatches(token, token));
  for (std::size_t at : {0U, 31U, 63U}) {
    std::string other = digest;
    other[at] = other[at] == '0' ? '1' : '0';
    EXPECT_FALSE(TokenMatches(token, other)) << at;
  }
}

}  // namespace
}  // namespace muster::wire
