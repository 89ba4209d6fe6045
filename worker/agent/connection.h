// The stream to the coordinator: reports out, desired states in; again and again, for ever.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "muster/v1/agent.pb.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/supervisor.h"

namespace muster::agent {

struct ConnectionOptions {
  v1::AgentReport identity;  // All that is the same in every report.
  std::chrono::milliseconds report_interval = std::chrono::milliseconds(500);
  // A stream without an answer for so long is given up: the way to the coordinator may be cut.
  std::chrono::milliseconds silence_max = std::chrono::seconds(5);
};

class Connection {
 public:
  struct Hooks {
    std::function<Reports()> latest;
    std::function<void(std::uint64_t version)> reported;
    std::function<void(v1::DesiredState)> obey;
    std::function<void()> connected;  // The first answer of a new stream has come.
  };

  Connection(ConnectionOptions options, CoordinatorLink& link, Hooks hooks);
  // After link.Stop().
  ~Connection();

  // There is something new to report. Thread-safe.
  void Changed();

 private:
  void Loop();
  Status Attend();
  void WriteReports(grpc::ClientReaderWriterInterface<v1::AgentReport, v1::DesiredState>& stream,
                    grpc::ClientContext& context);
  // Notes when a report was made; finds that again when the coordinator has answered it.
  void Sent(std::uint64_t sequence);
  void Answered(std::uint64_t sequence);
  // Returns how long to wait before the next try.
  std::chrono::milliseconds AfterFailure(const Status& status);

  const ConnectionOptions options_;
  CoordinatorLink& link_;
  const Hooks hooks_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool changed_ = false;   // Under the mutex.
  bool stream_ok_ = true;  // Under the mutex: the reader has not met the stream's end.
  std::map<std::uint64_t, std::chrono::steady_clock::time_point> sent_;  // Under the mutex.
  std::uint64_t sequence_ = 0;  // Of WriteReports, of which one runs at a time.
  std::string last_complaint_;
  std::chrono::milliseconds pause_{100};
  std::chrono::milliseconds refused_pause_{0};  // After the last refusal; 0 = there is none.
  std::thread thread_;
};

}  // namespace muster::agent
