#include "worker/rank/check_apart.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace muster::rank {
namespace {

using std::chrono::milliseconds;

std::string Told(const std::function<Status()>& check, milliseconds limit = milliseconds(60'000)) {
  const Status status = CheckApart("plug-in walk.so", check, limit);
  EXPECT_TRUE(status.ok() || status.code() == StatusCode::kInvalidArgument);
  // No child is left, whatever became of it.
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
  return status.ok() ? "ok" : status.message();
}

TEST(CheckApartTest, AnAnswerComesBackAsItIs) {
  int here = 0;
  EXPECT_EQ(Told([&here] {
              here = 1;
              return Status();
            }),
            "ok");
  EXPECT_EQ(here, 0) << "it ran in this process";
  const Status status = CheckApart(
      "x", [] { return NotFound("two\nlines 7"); }, milliseconds(60'000));
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "two\nlines 7");
  const std::string long_text(30'000, 'x');
  EXPECT_EQ(Told([&] { return InvalidArgument(long_text); }), long_text);
}

TEST(CheckApartTest, ACrashNamesTheSignal) {
  EXPECT_EQ(Told([] {
              ::signal(SIGSEGV, SIG_DFL);  // A sanitizer has a handler of its own.
              ::raise(SIGSEGV);
              return Status();
            }),
            "plug-in walk.so crashed with signal 11 (Segmentation fault) when it was tried out");
  EXPECT_EQ(Told([]() -> Status {
              ::signal(SIGABRT, SIG_DFL);
              std::abort();
            }),
            "plug-in walk.so crashed with signal 6 (Aborted) when it was tried out");
}

TEST(CheckApartTest, AnExitIsNoAnswer) {
  EXPECT_EQ(Told([]() -> Status { ::_exit(0); }),
            "plug-in walk.so ended the process with exit code 0 when it was tried out");
}

TEST(CheckApartTest, WhatHangsIsEnded) {
  EXPECT_EQ(Told(
                []() -> Status {
                  while (true) ::pause();
                },
                milliseconds(100)),
            "plug-in walk.so did not come back within 0 s when it was tried out");
}

TEST(CheckApartTest, AThreadThatStaysDoesNotKeepIt) {
  EXPECT_EQ(Told([] {
              std::thread([] {
                while (true) ::pause();
              }).detach();
              return Status();
            }),
            "ok");
}

}  // namespace
}  // namespace muster::rank
