#include "coordinator/service/audit_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <utility>

#include "wire/json.h"

namespace muster::coordinator {
namespace {

std::string TimeText(std::int64_t time_ms) {
  const std::time_t seconds = time_ms / 1'000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[40];
  const std::size_t length = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
  char millis[8];
  std::snprintf(millis, sizeof(millis), ".%03dZ", static_cast<int>(time_ms % 1'000));
  return std::string(text, length) + millis;
}

const char* CodeText(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "OK";
    case StatusCode::kCancelled:
      return "CANCELLED";
    case StatusCode::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case StatusCode::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case StatusCode::kNotFound:
      return "NOT_FOUND";
    case StatusCode::kAlreadyExists:
      return "ALREADY_EXISTS";
    case StatusCode::kPermissionDenied:
      return "PERMISSION_DENIED";
    case StatusCode::kResourceExhausted:
      return "RESOURCE_EXHAUSTED";
    case StatusCode::kFailedPrecondition:
      return "FAILED_PRECONDITION";
    case StatusCode::kAborted:
      return "ABORTED";
    case StatusCode::kUnimplemented:
      return "UNIMPLEMENTED";
    case StatusCode::kInternal:
      return "INTERNAL";
    case StatusCode::kUnavailable:
      return "UNAVAILABLE";
    case StatusCode::kDataLoss:
      return "DATA_LOSS";
    case StatusCode::kUnauthenticated:
      return "UNAUTHENTICATED";
  }
  return "UNKNOWN";
}

}  // namespace

std::string AuditLine(const AuditEntry& entry) {
  std::string line = "{\"time\":\"" + TimeText(entry.time_ms) + "\"";
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) line += std::string(",\"") + key + "\":" + wire::JsonText(value);
  };
  add("user", entry.user);
  add("role", entry.role);
  add("rpc", entry.rpc);
  if (entry.job != 0) line += ",\"job\":" + std::to_string(entry.job);
  add("subject", entry.subject);
  add("outcome", CodeText(entry.outcome));
  add("peer", entry.peer);
  if (entry.left_out != 0) line += ",\"left_out\":" + std::to_string(entry.left_out);
  return line + "}";
}

Result<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& path, std::uint64_t bytes_max) {
  std::unique_ptr<AuditLog> log(new AuditLog(path, bytes_max));
  MUSTER_RETURN_IF_ERROR(log->OpenFile());
  return log;
}

Status AuditLog::OpenFile() {
  MUSTER_ASSIGN_OR_RETURN(file_, FileDescriptor::Open(path_, O_WRONLY | O_CREAT | O_APPEND, 0600));
  struct stat info {};
  bytes_ = ::fstat(file_.get(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
  return {};
}

bool AuditLog::Allowance::Take(std::int64_t now_ms, double most, double per_second) {
  const double passed = static_cast<double>(std::max<std::int64_t>(now_ms - time_ms, 0)) / 1e3;
  lines = time_ms == 0 ? most : std::min(most, lines + passed * per_second);
  time_ms = now_ms;
  if (lines < 1) return false;
  --lines;
  return true;
}

bool AuditLog::MayWrite(AuditEntry& entry) {
  if (entry.outcome == StatusCode::kOk) return true;
  constexpr std::size_t kAddressesMax = 4'096;  // The others share one allowance.
  std::string address = entry.peer.substr(0, entry.peer.rfind(':'));
  if (addresses_.size() >= kAddressesMax && !addresses_.contains(address)) address = "others";
  Allowance& own = addresses_[address];
  if (own.Take(entry.time_ms, 1'000, 0.1) && all_.Take(entry.time_ms, 5'000, 1)) {
    entry.left_out = std::exchange(own.left_out, 0);
    return true;
  }
  if (own.left_out++ == 0) {
    std::fprintf(stderr,
                 "coordinator: the audit log leaves out refusals of %s: there are too many\n",
                 address.c_str());
  }
  return false;
}

void AuditLog::Write(const AuditEntry& given) {
  AuditEntry entry = given;
  const std::lock_guard lock(mutex_);
  if (!MayWrite(entry)) return;
  const std::string line = AuditLine(entry) + "\n";
  Status written;
  if (bytes_ > 0 && bytes_ + line.size() > bytes_max_) {
    if (::rename(path_.c_str(), (path_ + ".1").c_str()) != 0)
      written = FromErrno("rename " + path_);
    if (written.ok()) written = OpenFile();
  }
  // One write: a line is there whole, or the disk is full.
  if (written.ok() &&
      ::write(file_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    written = FromErrno("write " + path_);
  }
  bytes_ += line.size();
  if (!written.ok() && !told_) {
    std::fprintf(stderr, "coordinator: the audit log misses calls: %s\n",
                 written.message().c_str());
  }
  told_ = !written.ok();
}

}  // namespace muster::coordinator
