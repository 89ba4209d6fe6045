// Rendezvous: a small key-value store through which ranks find each other before they are
// connected.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"

namespace muster {

// Thread-safe. A key is written once; keys hold letters, digits, '/', '-', '_' and '.'.
class Rendezvous {
 public:
  virtual ~Rendezvous() = default;
  virtual Status Put(const std::string& key, std::string_view bytes) = 0;
  // Waits until `key` is there; kDeadlineExceeded, naming the key, when it is not in time.
  virtual Result<std::string> Get(const std::string& key, std::chrono::milliseconds timeout) = 0;
};

// For the threads of one process.
class MemoryRendezvous : public Rendezvous {
 public:
  Status Put(const std::string& key, std::string_view bytes) override;
  Result<std::string> Get(const std::string& key, std::chrono::milliseconds timeout) override;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
};

// For processes that share a folder, which must exist and be empty at first. Polls.
class FileRendezvous : public Rendezvous {
 public:
  explicit FileRendezvous(std::string folder) : folder_(std::move(folder)) {}
  Status Put(const std::string& key, std::string_view bytes) override;
  Result<std::string> Get(const std::string& key, std::chrono::milliseconds timeout) override;

 private:
  std::string Path(const std::string& key) const;
  std::string folder_;
};

}  // namespace muster
