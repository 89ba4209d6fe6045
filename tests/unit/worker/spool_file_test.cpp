#include "worker/agent/spool_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>

namespace muster::agent {
namespace {

class SpoolFileTest : public testing::Test {
 protected:
  SpoolFileTest() {
    std::string folder = testing::TempDir() + "/spool_test.XXXXXX";
    folder_ = ::mkdtemp(folder.data());
    path_ = folder_ + "/log";
  }
  ~SpoolFileTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& text) const {
    const auto file = FileDescriptor::Open(path_, O_WRONLY | O_CREAT | O_APPEND);
    ASSERT_TRUE(WriteAll(file->get(), text, path_).ok());
  }
  // Takes all that is there.
  static std::string Drain(SpoolFile& spool, bool closed = false) {
    std::string all;
    while (true) {
      const Result<std::string> data = spool.Next(closed);
      EXPECT_TRUE(data.ok());
      if (data->empty()) return all;
      EXPECT_EQ(data->back(), '\n');
      all += *data;
      spool.SetOffset(spool.offset() + data->size());
    }
  }

  std::string folder_, path_;
};

TEST_F(SpoolFileTest, GivesWholeLinesOnly) {
  SpoolFile spool(path_, {});
  EXPECT_EQ(Drain(spool), "");  // There is no file yet.
  Write("one\ntwo\nthr");
  EXPECT_EQ(Drain(spool), "one\ntwo\n");
  Write("ee\n");
  EXPECT_EQ(Drain(spool), "three\n");
}

TEST_F(SpoolFileTest, EndsTheLastLineOfAClosedFileInTheFileItself) {
  Write("one\ntwo");
  SpoolFile spool(path_, {});
  EXPECT_EQ(Drain(spool, true), "one\ntwo\n");
  EXPECT_EQ(*ReadFile(path_), "one\ntwo\n");
  SpoolFile later(path_, {});
  EXPECT_EQ(Drain(later, true), "one\ntwo\n");
}

TEST_F(SpoolFileTest, CutsALineThatIsTooLongTheSameWayEachTime) {
  Write(std::string(25, 'x') + "\nend\n");
  SpoolFile spool(path_, {10});
  const std::string expected = "xxxxxxxxx\nxxxxxxxxx\nxxxxx\nend\n";
  EXPECT_EQ(Drain(spool), expected);
  SpoolFile later(path_, {10});
  EXPECT_EQ(Drain(later), expected);
}

TEST_F(SpoolFileTest, DropsTheRestOfAFloodAndSaysSo) {
  SpoolFile spool(path_, {64, 100});
  std::string sent;
  for (int i = 0; i < 1000; ++i) {
    Write("line " + std::to_string(i) + "\n");
    if (i % 7 == 0) sent += Drain(spool);
  }
  sent += Drain(spool, true);
  EXPECT_EQ(sent.rfind("line 0\nline 1\n", 0), 0U);
  EXPECT_NE(sent.find("the rest of it is dropped\n"), std::string::npos);
  EXPECT_LT(sent.size(), 200U);
  EXPECT_LT(std::filesystem::file_size(path_), 400U);  // The disk is spared.
  SpoolFile later(path_, {64, 100});                   // Another agent goes on with the same bytes.
  EXPECT_EQ(Drain(later, true), sent);
}

TEST_F(SpoolFileTest, AnyPiecesAddUpToTheFile) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    std::filesystem::remove(path_);
    std::mt19937 random(seed);
    SpoolFile spool(path_, {16});
    std::string written, taken;
    for (int i = 0; i < 50; ++i) {
      const std::string piece(random() % 6, static_cast<char>('a' + i % 26));
      written += piece + (random() % 3 == 0 ? "\n" : "");
      Write(written.substr(std::filesystem::exists(path_) ? std::filesystem::file_size(path_) : 0));
      if (random() % 2 == 0) taken += Drain(spool);
      if (random() % 8 == 0) {  // The coordinator has less than was sent.
        const std::size_t newline = taken.rfind('\n', random() % (taken.size() + 1));
        taken.resize(newline == std::string::npos ? 0 : newline + 1);
        spool.SetOffset(taken.size());
      }
    }
    taken += Drain(spool, true);
    EXPECT_EQ(taken, *ReadFile(path_));
    EXPECT_LE(taken.size() - written.size(), 1U);  // A newline for the last line, if any.
  }
}

TEST_F(SpoolFileTest, TheLastLineIsTheLastWithAnythingInIt) {
  EXPECT_EQ(LastLine(path_), "");
  Write("first\nwhat went wrong\n\n  \n");
  EXPECT_EQ(LastLine(path_), "what went wrong");
  EXPECT_EQ(LastLine(path_, 4), "what...");
}

}  // namespace
}  // namespace muster::agent
