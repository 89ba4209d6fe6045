#include "worker/agent/spool_forwarder.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <random>

namespace muster::agent {
namespace {

// A sink that stores, fails and forgets by a seed, as a coordinator that is killed now and then.
class FlakySink {
 public:
  explicit FlakySink(unsigned seed) : random_(seed) {}

  Result<std::uint64_t> Append(const v1::AppendRequest& request) {
    const std::lock_guard lock(mutex_);
    std::string& have = stored_[request.stream()];
    const std::size_t offset = request.offset();
    const unsigned luck = random_() % 8;
    if (luck == 0) return Unavailable("lost on the way there");
    if (offset <= have.size() && offset + request.data().size() > have.size()) {
      have += request.data().substr(have.size() - offset);
    }
    if (luck == 1) return Unavailable("lost on the way back");
    return have.size();
  }
  std::string stored(v1::Stream stream) {
    const std::lock_guard lock(mutex_);
    return stored_[stream];
  }

 private:
  std::mutex mutex_;
  std::mt19937 random_;
  std::map<int, std::string> stored_;
};

class SpoolForwarderTest : public testing::Test {
 protected:
  SpoolForwarderTest() {
    std::string folder = testing::TempDir() + "/forwarder_test.XXXXXX";
    folder_ = ::mkdtemp(folder.data());
    options_.poll = options_.retry = std::chrono::milliseconds(1);
  }
  ~SpoolForwarderTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) const {
    const std::string path = folder_ + "/" + name;
    const auto file = FileDescriptor::Open(path, O_WRONLY | O_CREAT | O_APPEND);
    ASSERT_TRUE(WriteAll(file->get(), text, path).ok());
  }

  const RankKey key_ = {7, 1, 0};
  std::string folder_;
  SpoolForwarderOptions options_;
};

TEST_F(SpoolForwarderTest, AllArrivesInOrderOnceWhateverTheSinkDoes) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    std::filesystem::remove(folder_ + "/log");
    std::filesystem::remove(folder_ + "/metrics");
    FlakySink sink(seed);
    std::promise<void> drained;
    SpoolForwarder forwarder(
        options_, [&sink](const auto& request) { return sink.Append(request); },
        [&drained](const RankKey&) { drained.set_value(); });
    forwarder.Add(key_, folder_);
    std::string log, metrics;
    for (int i = 0; i < 200; ++i) {
      const std::string line = "line " + std::to_string(i) + "\n";
      Write(i % 3 == 0 ? "metrics" : "log", line);
      (i % 3 == 0 ? metrics : log) += line;
      if (i % 50 == 0) forwarder.SinkChanged();
    }
    forwarder.Close(key_);
    ASSERT_EQ(drained.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
    EXPECT_EQ(sink.stored(v1::STREAM_LOG), log);
    EXPECT_EQ(sink.stored(v1::STREAM_METRICS), metrics);
  }
}

TEST_F(SpoolForwarderTest, WaitsUntilMetricsAreStored) {
  FlakySink sink(1);
  SpoolForwarder forwarder(
      options_, [&sink](const auto& request) { return sink.Append(request); },
      [](const RankKey&) {});
  EXPECT_EQ(forwarder.WaitForMetrics(key_, 0, false, [] { return false; }).code(),
            StatusCode::kNotFound);
  forwarder.Add(key_, folder_);
  Write("metrics", "one\ntwo\n");
  EXPECT_TRUE(forwarder.WaitForMetrics(key_, 8, false, [] { return false; }).ok());
  EXPECT_EQ(sink.stored(v1::STREAM_METRICS), "one\ntwo\n");
  EXPECT_TRUE(forwarder.WaitForMetrics(key_, 8, true, [] { return false; }).ok());
  EXPECT_EQ(forwarder.WaitForMetrics(key_, 9, false, [] { return true; }).code(),
            StatusCode::kCancelled);
}

TEST_F(SpoolForwarderTest, RefusedMetricsEndTheWaitButNotTheLog) {
  std::atomic<int> log_bytes = 0;
  std::promise<void> drained;
  SpoolForwarder forwarder(
      options_,
      [&log_bytes](const v1::AppendRequest& request) -> Result<std::uint64_t> {
        if (request.stream() == v1::STREAM_METRICS) return Aborted("attempt 2 has taken over");
        log_bytes += static_cast<int>(request.data().size());
        return request.offset() + request.data().size();
      },
      [&drained](const RankKey&) { drained.set_value(); });
  Write("metrics", "one\n");
  Write("log", "two\n");
  forwarder.Add(key_, folder_);
  EXPECT_EQ(forwarder.WaitForMetrics(key_, 4, false, [] { return false; }).code(),
            StatusCode::kAborted);
  forwarder.Close(key_);
  ASSERT_EQ(drained.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_EQ(log_bytes, 4);
}

TEST_F(SpoolForwarderTest, WhoIsNotAdmittedAsksEverMoreSeldomAndGoesOnOnceItIs) {
  using std::chrono::milliseconds;
  options_.denied_retry_max = milliseconds(64);
  std::atomic<int> asked = 0;
  std::atomic<bool> admitted = false;
  std::promise<void> drained;
  SpoolForwarder forwarder(
      options_,
      [&](const v1::AppendRequest& request) -> Result<std::uint64_t> {
        ++asked;
        if (admitted) return request.offset() + request.data().size();
        return Status(StatusCode::kUnauthenticated, "the certificate is not admitted");
      },
      [&drained](const RankKey&) { drained.set_value(); });
  Write("log", "one line\n");
  forwarder.Add(key_, folder_);
  forwarder.Close(key_);
  std::this_thread::sleep_for(milliseconds(500));
  // 2, 4, ... 64 ms, and then 64 ms each: 12 of them in 500 ms; every ms it would be hundreds.
  EXPECT_LE(asked, 13);
  EXPECT_GE(asked, 1);
  admitted = true;
  EXPECT_EQ(drained.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

TEST_F(SpoolForwarderTest, KnowsWhatWaits) {
  std::atomic<bool> away = true;
  SpoolForwarder forwarder(
      options_,
      [&away](const v1::AppendRequest& request) -> Result<std::uint64_t> {
        if (away) return Unavailable("away");
        return request.offset() + request.data().size();
      },
      [](const RankKey&) {});
  EXPECT_EQ(forwarder.WaitingBytes(), 0U);
  forwarder.Add(key_, folder_);
  EXPECT_EQ(forwarder.WaitingBytes(), 0U);  // Its files do not exist yet.
  Write("metrics", "one\n");
  Write("log", "two and three\n");
  EXPECT_EQ(forwarder.WaitingBytes(), 18U);
  away = false;
  ASSERT_TRUE(forwarder.WaitForMetrics(key_, 4, false, [] { return false; }).ok());
  while (forwarder.WaitingBytes() != 0) std::this_thread::yield();
  forwarder.Remove(key_);
  EXPECT_EQ(forwarder.WaitingBytes(), 0U);
}

}  // namespace
}  // namespace muster::agent
