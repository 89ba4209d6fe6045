#include "coordinator/store/record_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "tests/support/temporary_directory.h"

namespace muster::coordinator {
namespace {

std::string ReadAll(const RecordLog& log) {
  std::string all;
  std::uint64_t position = 0;
  for (auto record = log.Read(0); record.ok(); record = log.Read(position)) {
    all +=
        std::to_string(record->attempt) + "/" + std::to_string(record->rank) + ":" + record->data;
    position = record->next_position;
  }
  return all;
}

TEST(RecordLogTest, StoresEachByteOfASpoolFileOnce) {
  const TemporaryDirectory folder;
  auto log = *RecordLog::Open(folder / "log");
  EXPECT_EQ(*log->Append(1, 0, 0, "one\n"), 4U);
  EXPECT_EQ(*log->Append(1, 0, 0, "one\n"), 4U);       // Sent again.
  EXPECT_EQ(*log->Append(1, 0, 0, "one\ntwo\n"), 8U);  // Overlaps.
  EXPECT_EQ(*log->Append(1, 1, 0, "other rank\n"), 11U);
  EXPECT_EQ(ReadAll(*log), "1/0:one\n1/0:two\n1/1:other rank\n");
}

TEST(RecordLogTest, AGapStoresNothingAndSaysWhereToGoOn) {
  const TemporaryDirectory folder;
  auto log = *RecordLog::Open(folder / "log");
  ASSERT_TRUE(log->Append(1, 0, 0, "one\n").ok());
  EXPECT_EQ(*log->Append(1, 0, 10, "late\n"), 4U);
  EXPECT_EQ(ReadAll(*log), "1/0:one\n");
}

TEST(RecordLogTest, GoesOnWhereItWasAfterARestart) {
  const TemporaryDirectory folder;
  { ASSERT_TRUE((*RecordLog::Open(folder / "log"))->Append(2, 1, 0, "one\n").ok()); }
  auto log = *RecordLog::Open(folder / "log");
  EXPECT_EQ(log->StoredBytes(2, 1), 4U);
  EXPECT_EQ(*log->Append(2, 1, 0, "one\ntwo\n"), 8U);
  EXPECT_EQ(ReadAll(*log), "2/1:one\n2/1:two\n");
}

TEST(RecordLogTest, SaysOnceThatItIsFullAndTakesNoMore) {
  const TemporaryDirectory folder;
  const auto open = [&] { return *RecordLog::Open(folder / "log", "full\n", 100); };
  auto log = open();
  EXPECT_EQ(*log->Append(1, 0, 0, std::string(40, 'a')), 40U);
  EXPECT_EQ(*log->Append(1, 1, 0, std::string(40, 'b')), 40U);
  EXPECT_EQ(*log->Append(1, 0, 40, std::string(40, 'c')), 80U);
  log = open();
  EXPECT_EQ(log->StoredBytes(1, 1), 40U);  // The last words are not the rank's.
  EXPECT_EQ(*log->Append(1, 1, 40, "more\n"), 45U);
  EXPECT_EQ(ReadAll(*log),
            "1/0:" + std::string(40, 'a') + "1/1:" + std::string(40, 'b') + "1/1:full\n");
}

// Property: wherever a crash cuts the file, whole records before the cut survive, and sending
// everything again completes them without doubles.
TEST(RecordLogTest, SurvivesACutAtEveryByte) {
  const TemporaryDirectory folder;
  const std::string path = folder / "log";
  { ASSERT_TRUE((*RecordLog::Open(path))->Append(1, 0, 0, "first\n").ok()); }
  const auto whole = std::filesystem::file_size(path);
  { ASSERT_TRUE((*RecordLog::Open(path))->Append(1, 0, 6, "second\n").ok()); }
  const auto full = std::filesystem::file_size(path);
  for (auto cut = full - 1; cut >= whole; --cut) {
    SCOPED_TRACE(cut);
    std::filesystem::resize_file(path, cut);
    auto log = *RecordLog::Open(path);
    EXPECT_EQ(ReadAll(*log), "1/0:first\n");
    EXPECT_EQ(*log->Append(1, 0, 0, "first\nsecond\n"), 13U);
    EXPECT_EQ(ReadAll(*log), "1/0:first\n1/0:second\n");
  }
}

TEST(RecordLogTest, ADamagedLastRecordIsCutOff) {
  const TemporaryDirectory folder;
  const std::string path = folder / "log";
  { ASSERT_TRUE((*RecordLog::Open(path))->Append(1, 0, 0, "first\n").ok()); }
  { std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(33).put('X'); }
  auto log = *RecordLog::Open(path);
  EXPECT_EQ(ReadAll(*log), "");
  EXPECT_EQ(log->StoredBytes(1, 0), 0U);
}

TEST(RecordLogTest, NeverTakesGarbageForARecord) {
  const TemporaryDirectory folder;
  for (unsigned seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const std::string path = folder / std::to_string(seed);
    std::ofstream file(path, std::ios::binary);
    for (unsigned i = 0; i < random() % 300; ++i) file.put(static_cast<char>(random()));
    file.close();
    auto log = RecordLog::Open(path);
    ASSERT_TRUE(log.ok());
    EXPECT_EQ(ReadAll(**log), "");
  }
}

TEST(RecordLogTest, APositionInsideARecordIsRefused) {
  const TemporaryDirectory folder;
  auto log = *RecordLog::Open(folder / "log");
  ASSERT_TRUE(log->Append(1, 0, 0, "one\n").ok());
  EXPECT_EQ(log->Read(5).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(log->Read(1U << 20U).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(log->Read(log->size()).status().code(), StatusCode::kNotFound);
}

TEST(RecordLogTest, FollowersWakeOnNewsAndOnTheEnd) {
  const TemporaryDirectory folder;
  auto log = *RecordLog::Open(folder / "log");
  int woken = 0;
  const auto wake = [&woken] { ++woken; };
  log->Follow(0, wake);
  EXPECT_EQ(woken, 0);
  ASSERT_TRUE(log->Append(1, 0, 0, "one\n").ok());
  EXPECT_EQ(woken, 1);
  log->Follow(0, wake);  // There is more than position 0 already.
  EXPECT_EQ(woken, 2);
  const std::uint64_t key = log->Follow(log->size(), wake);
  log->Unfollow(key);
  ASSERT_TRUE(log->Append(1, 0, 4, "two\n").ok());
  EXPECT_EQ(woken, 2);
  log->Follow(log->size(), wake);
  log->Close();
  EXPECT_EQ(woken, 3);
  EXPECT_EQ(*log->Append(1, 0, 8, "after\n"), 14U);  // Counts as stored, so its sender goes on.
  EXPECT_EQ(ReadAll(*log), "1/0:one\n1/0:two\n");
}

}  // namespace
}  // namespace muster::coordinator
