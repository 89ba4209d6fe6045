// Which certificate each worker that joined may show. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace muster::coordinator {

class WorkerCertificates {
 public:
  void Reset(std::map<std::string, std::string> sha256_of) {
    const std::lock_guard lock(mutex_);
    sha256_of_ = std::move(sha256_of);
  }
  // The one before it is admitted no more.
  void Set(const std::string& worker, const std::string& sha256) {
    const std::lock_guard lock(mutex_);
    sha256_of_[worker] = sha256;
  }
  bool Admits(const std::string& worker, const std::string& sha256) const {
    const std::lock_guard lock(mutex_);
    const auto found = sha256_of_.find(worker);
    return found != sha256_of_.end() && found->second == sha256;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> sha256_of_;  // Of the certificate's DER form.
};

}  // namespace muster::coordinator
