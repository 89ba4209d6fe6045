#include "coordinator/service/record_streams.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace muster::coordinator {
namespace {

// The step of a metrics row; 0 when it has none.
std::uint64_t StepOf(std::string_view row) {
  const auto json = nlohmann::json::parse(row, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("step") || !json["step"].is_number_unsigned()) return 0;
  return json["step"].get<std::uint64_t>();
}

std::string_view LastRow(std::string_view rows) {
  if (!rows.empty() && rows.back() == '\n') rows.remove_suffix(1);
  const std::size_t newline = rows.rfind('\n');
  return newline == std::string_view::npos ? rows : rows.substr(newline + 1);
}

}  // namespace

void LogStream::Start() {
  const auto self = std::static_pointer_cast<LogStream>(shared_from_this());
  coordinator_.Records(Claim(request_.job_id()), v1::STREAM_LOG,
                       [self](Result<JobRecords> records) {
                         if (!records.ok()) return self->End(records.status());
                         self->log_ = records->log;
                         self->Wake();
                       });
}

LogStream::Next LogStream::Produce(v1::LogChunk& chunk) {
  while (true) {
    const bool closed = log_->closed();  // Before reading: nothing comes after it.
    const Result<Record> record = log_->Read(position_);
    if (!record.ok()) {
      if (record.status().code() != StatusCode::kNotFound) {
        End(record.status());
      } else if (closed || !request_.follow()) {
        End({});
      } else {
        following_ = log_->Follow(position_, [weak = weak_from_this()] {
          if (const auto stream = weak.lock()) stream->Wake();
        });
      }
      return Next::kWait;
    }
    position_ = record->next_position;
    if (request_.has_rank() && request_.rank() != record->rank) continue;
    chunk.set_attempt(record->attempt);
    chunk.set_rank(record->rank);
    chunk.set_text(record->data);
    chunk.set_next_position(position_);
    return Next::kWrite;
  }
}

void LogStream::Gone() {
  if (log_ != nullptr) log_->Unfollow(following_);
}

void MetricsStream::Ask() {
  const auto self = std::static_pointer_cast<MetricsStream>(shared_from_this());
  coordinator_.Records(Claim(request_.job_id()), v1::STREAM_METRICS,
                       [self](Result<JobRecords> records) {
                         if (!records.ok()) return self->End(records.status());
                         {
                           const std::lock_guard lock(self->mutex_);
                           self->records_ = *records;
                         }
                         self->Wake();
                       });
}

const JournaledAttempt* MetricsStream::Attempt(std::uint32_t number) const {
  for (const JournaledAttempt& attempt : records_->attempts) {
    if (attempt.number == number) return &attempt;
  }
  return nullptr;
}

std::string MetricsStream::Valid(const Record& record) const {
  std::uint64_t last = UINT64_MAX;
  for (const JournaledAttempt& attempt : records_->attempts) {
    if (attempt.number > record.attempt) last = std::min(last, attempt.resume_step);
  }
  if (last == UINT64_MAX) return record.data;
  std::string rows;
  for (std::string_view rest = record.data; !rest.empty();) {
    const std::string_view row = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), row.size() + 1));
    if (StepOf(row) <= last) rows += std::string(row) + "\n";
  }
  return rows;
}

MetricsStream::Next MetricsStream::Produce(v1::MetricsChunk& chunk) {
  const std::lock_guard lock(mutex_);
  while (true) {
    RecordLog& log = *records_->log;
    const bool closed = log.closed();
    const Result<Record> record = log.Read(position_);
    if (!record.ok()) {
      if (record.status().code() != StatusCode::kNotFound) {
        End(record.status());
      } else if (closed || !request_.follow()) {
        End({});
      } else {
        following_ = log.Follow(position_, [weak = weak_from_this()] {
          if (const auto stream = weak.lock()) stream->Wake();
        });
      }
      return Next::kWait;
    }
    const JournaledAttempt* attempt = Attempt(record->attempt);
    if (attempt == nullptr) {  // Started after this stream asked.
      Ask();
      return Next::kWait;
    }
    // A stream taken up in the middle does not know what its reader has had.
    const bool taken_up = step_sent_ == 0 && request_.position() > 0;
    if (record->offset == 0 && record->attempt > 1 && rewound_attempt_ != record->attempt &&
        (taken_up || step_sent_ > attempt->resume_step)) {
      rewound_attempt_ = record->attempt;
      step_sent_ = attempt->resume_step;
      chunk.set_rewind_to_step(attempt->resume_step);
      chunk.set_next_position(position_);
      return Next::kWrite;
    }
    position_ = record->next_position;
    chunk.set_rows(Valid(*record));
    if (chunk.rows().empty()) continue;
    step_sent_ = std::max(step_sent_, StepOf(LastRow(chunk.rows())));
    chunk.set_next_position(position_);
    return Next::kWrite;
  }
}

void MetricsStream::Gone() {
  const std::lock_guard lock(mutex_);
  if (records_.has_value()) records_->log->Unfollow(following_);
}

}  // namespace muster::coordinator
