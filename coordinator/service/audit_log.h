// Who did what: a JSON line for every call of a person that writes and for every refusal. Never a
// token, never what is in a job.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/file.h"
#include "base/status.h"

namespace muster::coordinator {

struct AuditEntry {
  std::int64_t time_ms = 0;  // Unix time.
  std::string user;          // Empty = not known.
  std::string role;
  std::string rpc;
  std::uint64_t job = 0;  // 0 = none.
  std::string subject;    // The user that a call about people is about.
  StatusCode outcome = StatusCode::kOk;
  std::string peer;            // As gRPC names it: "ipv4:127.0.0.1:4242".
  std::uint64_t left_out = 0;  // Earlier refusals of that address which are not in the log.
};

// One line without its end, keys in the order above, empty ones left out.
std::string AuditLine(const AuditEntry& entry);

// Append-only, mode 0600. A file that has reached `bytes_max` becomes PATH.1, in place of the one
// before it. So that nobody pushes out what has happened by being refused, an address may be
// refused 1,000 times at once and then every ten seconds, all together 5,000 times and every
// second: the others are only counted. Thread-safe.
class AuditLog {
 public:
  static Result<std::unique_ptr<AuditLog>> Open(const std::string& path,
                                                std::uint64_t bytes_max = 64ULL << 20U);

  // Written when it returns; a full disk loses the line and says so on stderr once.
  void Write(const AuditEntry& entry);

 private:
  AuditLog(std::string path, std::uint64_t bytes_max)
      : path_(std::move(path)), bytes_max_(bytes_max) {}
  Status OpenFile();
  bool MayWrite(AuditEntry& entry);

  // How many lines may be written now.
  struct Allowance {
    double lines = 0;
    std::int64_t time_ms = 0;
    std::uint64_t left_out = 0;
    bool Take(std::int64_t now_ms, double most, double per_second);
  };

  const std::string path_;
  const std::uint64_t bytes_max_;
  std::mutex mutex_;
  FileDescriptor file_;
  std::uint64_t bytes_ = 0;
  bool told_ = false;
  Allowance all_;
  std::map<std::string, Allowance> addresses_;  // By a peer's address, without its port.
};

}  // namespace muster::coordinator
