#include "coordinator/rendezvous_board.h"

#include <gtest/gtest.h>

namespace muster::coordinator {
namespace {

constexpr AttemptId kAttempt{7, 2};

struct Answer {
  RendezvousBoard::Done Done() {
    return [this](Result<std::string> given) {
      ++calls;
      code = given.status().code();
      if (given.ok()) value = *given;
    };
  }
  int calls = 0;
  StatusCode code = StatusCode::kInternal;
  std::string value;
};

TEST(RendezvousBoardTest, AnswersAtOnceWhenTheValueIsThere) {
  RendezvousBoard board;
  Answer answer;
  ASSERT_TRUE(board.Put(kAttempt, "rank0", "here").ok());
  board.Get(kAttempt, "rank0", 100, answer.Done());
  EXPECT_EQ(answer.calls, 1);
  EXPECT_EQ(answer.value, "here");
}

TEST(RendezvousBoardTest, AnswersThoseWhoWaitWhenTheirKeyComes) {
  RendezvousBoard board;
  Answer first, second;
  board.Get(kAttempt, "a", 100, first.Done());
  board.Get(kAttempt, "b", 100, second.Done());
  ASSERT_TRUE(board.Put(kAttempt, "a", "1").ok());
  EXPECT_EQ(first.value, "1");
  EXPECT_EQ(second.calls, 0);
}

TEST(RendezvousBoardTest, NamesTheKeyThatNobodyPut) {
  RendezvousBoard board;
  Answer answer;
  board.Get(kAttempt, "a", 100, answer.Done());
  board.Tick(99);
  EXPECT_EQ(answer.calls, 0);
  board.Tick(100);
  EXPECT_EQ(answer.code, StatusCode::kDeadlineExceeded);
}

TEST(RendezvousBoardTest, AttemptsDoNotSeeEachOtherAndEndWithAborted) {
  RendezvousBoard board;
  Answer answer;
  ASSERT_TRUE(board.Put({7, 1}, "a", "old").ok());
  board.Get(kAttempt, "a", 100, answer.Done());
  EXPECT_EQ(answer.calls, 0);
  board.Remove(kAttempt);
  EXPECT_EQ(answer.code, StatusCode::kAborted);
  board.Tick(1'000);
  EXPECT_EQ(answer.calls, 1);
}

TEST(RendezvousBoardTest, NobodyWaitsForACoordinatorThatEnds) {
  RendezvousBoard board;
  Answer before, after;
  board.Get(kAttempt, "a", 100, before.Done());
  board.Close();
  board.Get(kAttempt, "a", 100, after.Done());
  EXPECT_EQ(before.code, StatusCode::kUnavailable);
  EXPECT_EQ(after.code, StatusCode::kUnavailable);
}

TEST(RendezvousBoardTest, BoundsWhatItKeeps) {
  RendezvousBoard board;
  EXPECT_EQ(board.Put(kAttempt, "a", std::string(1U << 20U, 'x')).code(),
            StatusCode::kResourceExhausted);
  for (int i = 0; i < 4096; ++i) ASSERT_TRUE(board.Put(kAttempt, std::to_string(i), "x").ok());
  EXPECT_EQ(board.Put(kAttempt, "one more", "x").code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(board.Put(kAttempt, "17", "again").ok());
}

}  // namespace
}  // namespace muster::coordinator
