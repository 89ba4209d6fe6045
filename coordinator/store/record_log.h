// An append-only file of what a job's ranks have written, in order of arrival: its logs or its
// metrics. Each record holds whole lines of one rank of one attempt, and where they stand in that
// rank's spool file, so that bytes sent twice are stored once.
//
// Format: records of a 32-byte header (magic, attempt, rank, bytes, spool offset, CRC-32 of the
// bytes, 1 for words that are not a rank's; little-endian) and the bytes. A torn last record is cut
// off when the file is opened.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/status.h"

namespace muster::coordinator {

struct Record {
  std::uint32_t attempt = 0;
  std::uint32_t rank = 0;
  std::uint64_t offset = 0;  // Of the data in the rank's spool file.
  std::string data;
  std::uint64_t next_position = 0;  // Of the record after it.
};

// One thread appends and closes; any may read and follow.
class RecordLog {
 public:
  // From `bytes_max` on nothing more is stored, and `last_words` are its last record, if not empty.
  static Result<std::shared_ptr<RecordLog>> Open(const std::string& path,
                                                 const std::string& last_words = {},
                                                 std::uint64_t bytes_max = 1ULL << 30U);

  // Stores what of `data` is new, and returns how much of that spool file is stored then: less
  // than offset + data when there is a gap (nothing is stored). What comes after Close, or when the
  // log is full, counts as stored and is dropped.
  Result<std::uint64_t> Append(std::uint32_t attempt, std::uint32_t rank, std::uint64_t offset,
                               std::string_view data);
  std::uint64_t StoredBytes(std::uint32_t attempt, std::uint32_t rank) const;
  // Everything stored outlives a power cut, as does the file's place two folders up.
  Status Sync();

  // No more will come: the job has ended. Wakes followers.
  void Close();
  bool closed() const { return closed_; }

  // The record at `position` (0 = the first). kNotFound at the end, kInvalidArgument for a position
  // where no record begins.
  Result<Record> Read(std::uint64_t position) const;
  std::uint64_t size() const { return size_; }
  // Where the records of about the last 4 MiB begin. The writing thread's only.
  std::uint64_t TailPosition() const { return tail_.empty() ? size_.load() : tail_.front(); }

  // Calls `wake` once, from the appending thread, when there is more than `position` or the log is
  // closed; at once when that is so already. Returns a key for Unfollow.
  std::uint64_t Follow(std::uint64_t position, std::function<void()> wake);
  // `wake` may still be under way: it must not hold what its follower owns.
  void Unfollow(std::uint64_t key);

 private:
  RecordLog(std::string path, std::string last_words, std::uint64_t bytes_max)
      : path_(std::move(path)), last_words_(std::move(last_words)), bytes_max_(bytes_max) {}
  Status Write(std::uint32_t attempt, std::uint32_t rank, std::uint64_t offset,
               std::string_view data, bool own_words);
  Status Recover();
  void AddToTail(std::uint64_t position, std::uint64_t end);
  void Wake();

  std::string path_;
  std::string last_words_;
  std::uint64_t bytes_max_;
  FileDescriptor file_;
  bool entry_durable_ = false;  // Writer's only.
  std::atomic<std::uint64_t> size_ = 0;
  std::atomic<bool> closed_ = false;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t> stored_;  // Writer's only.
  std::deque<std::uint64_t> tail_;  // Positions of the last records. Writer's only.
  std::mutex mutex_;                // Followers.
  std::map<std::uint64_t, std::function<void()>> followers_;
  std::uint64_t followers_made_ = 0;
};

}  // namespace muster::coordinator
