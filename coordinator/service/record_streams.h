// The streams behind `muster logs` and `muster metrics`.
#pragma once

#include <optional>

#include "coordinator/coordinator.h"
#include "coordinator/service/write_stream.h"
#include "muster/v1/cluster.pb.h"

namespace muster::coordinator {

// Every record of a job's log, of one rank or of all.
class LogStream final : public WriteStream<v1::LogChunk> {
 public:
  LogStream(Coordinator& coordinator, v1::LogsRequest request)
      : coordinator_(coordinator), request_(std::move(request)), position_(request_.position()) {}

 protected:
  void Start() override;
  Next Produce(v1::LogChunk& chunk) override;
  void Gone() override;

 private:
  Coordinator& coordinator_;
  v1::LogsRequest request_;
  std::uint64_t position_;
  std::shared_ptr<RecordLog> log_;
  std::uint64_t following_ = 0;
};

// A job's rows by ascending step. Rows of an attempt beyond the step from which a later one resumed
// are left out; a follower that has had them is told to rewind.
class MetricsStream final : public WriteStream<v1::MetricsChunk> {
 public:
  MetricsStream(Coordinator& coordinator, v1::MetricsRequest request)
      : coordinator_(coordinator), request_(std::move(request)), position_(request_.position()) {}

 protected:
  void Start() override { Ask(); }
  Next Produce(v1::MetricsChunk& chunk) override;
  void Gone() override;

 private:
  // Fetches the log and the attempts, then wakes.
  void Ask();
  // Rows of `record` that still count.
  std::string Valid(const Record& record) const;
  const JournaledAttempt* Attempt(std::uint32_t number) const;

  Coordinator& coordinator_;
  v1::MetricsRequest request_;
  std::uint64_t position_;
  std::mutex mutex_;  // records_ is written by the coordinator's loop.
  std::optional<JobRecords> records_;
  std::uint64_t following_ = 0;
  std::uint32_t rewound_attempt_ = 0;  // For which the rewind has been sent.
  std::uint64_t step_sent_ = 0;
};

}  // namespace muster::coordinator
