// Status and Result<T>: how an operation that may legitimately fail reports it.
// A violated contract is not a Status: see base/check.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"

namespace muster {

// Values equal grpc::StatusCode, so wire/ maps them with a cast.
enum class StatusCode : std::uint8_t {
  kOk = 0,
  kCancelled = 1,
  kInvalidArgument = 3,   // The caller must change the request.
  kDeadlineExceeded = 4,  // Retry may help; the work may have happened.
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,   // Quota or queue full: retry after backing off.
  kFailedPrecondition = 9,  // The system is not in the needed state: do not retry unchanged.
  kAborted = 10,            // Fenced: a newer attempt or epoch has taken over.
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,      // Peer gone: retry.
  kDataLoss = 15,         // Checksum or format mismatch: do not retry.
  kUnauthenticated = 16,  // No valid token.
};

class [[nodiscard]] Status {
 public:
  Status() = default;  // OK
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // Prepends what the caller was doing: "load model: open a.ckpt: no such file".
  Status During(std::string_view activity) && {
    if (!ok()) message_ = std::string(activity) + ": " + message_;
    return std::move(*this);
  }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status InvalidArgument(std::string message) {
  return {StatusCode::kInvalidArgument, std::move(message)};
}
inline Status NotFound(std::string message) { return {StatusCode::kNotFound, std::move(message)}; }
inline Status DataLoss(std::string message) { return {StatusCode::kDataLoss, std::move(message)}; }
inline Status Unavailable(std::string message) {
  return {StatusCode::kUnavailable, std::move(message)};
}
inline Status FailedPrecondition(std::string message) {
  return {StatusCode::kFailedPrecondition, std::move(message)};
}
inline Status Aborted(std::string message) { return {StatusCode::kAborted, std::move(message)}; }
inline Status Internal(std::string message) { return {StatusCode::kInternal, std::move(message)}; }

// "open /a/b: No such file or directory" from the current errno; kNotFound for ENOENT,
// kResourceExhausted for a full disk, kPermissionDenied for EACCES, kInvalidArgument for a path
// that is too long, otherwise kInternal.
Status FromErrno(std::string_view what);

// Either a T or the Status that explains its absence; never an OK Status.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT: implicit by design.
  Result(Status error) : state_(std::move(error)) {  // NOLINT: implicit by design.
    MUSTER_CHECK(!std::get<Status>(state_).ok(), "a Result built from a Status needs an error");
  }

  bool ok() const { return std::holds_alternative<T>(state_); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }
  T& operator*() {
    MUSTER_CHECK(ok(), status().message());
    return std::get<T>(state_);
  }
  const T& operator*() const {
    MUSTER_CHECK(ok(), status().message());
    return std::get<T>(state_);
  }
  T* operator->() { return &**this; }
  const T* operator->() const { return &**this; }

 private:
  std::variant<Status, T> state_;
};

}  // namespace muster

#define MUSTER_RETURN_IF_ERROR(expression) \
  if (::muster::Status muster_status = (expression); !muster_status.ok()) return muster_status

#define MUSTER_ASSIGN_OR_RETURN(declaration, expression) \
  MUSTER_ASSIGN_OR_RETURN_(MUSTER_CONCAT_(muster_result_, __LINE__), declaration, expression)
#define MUSTER_ASSIGN_OR_RETURN_(result, declaration, expression) \
  auto result = (expression);                                     \
  if (!result.ok()) return result.status();                       \
  declaration = std::move(*result)
#define MUSTER_CONCAT_(a, b) MUSTER_CONCAT_EXPANDED_(a, b)
#define MUSTER_CONCAT_EXPANDED_(a, b) a##b
