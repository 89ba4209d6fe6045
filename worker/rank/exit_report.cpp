#include "worker/rank/exit_report.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "base/file.h"
#include "wire/attempt_name.h"

namespace muster::rank {

v1::ExitKind KindOf(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return v1::EXIT_KIND_SUCCESS;
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kUnavailable:
    case StatusCode::kAborted:
    case StatusCode::kCancelled:
    case StatusCode::kResourceExhausted:  // A full disk: of this worker, not of the job.
      return v1::EXIT_KIND_INFRASTRUCTURE;
    default:
      return v1::EXIT_KIND_OWN_FAILURE;
  }
}

RankEnd EndOf(const Status& status, std::uint64_t step) {
  return {KindOf(status), status.message(), step};
}

bool WriteExitReport(const std::string& directory, const RankEnd& end) {
  static std::atomic<bool> written = false;
  if (written.exchange(true)) return true;
  v1::RankExit report;
  report.set_kind(end.kind);
  // A protobuf string holds UTF-8, an exception's text may hold anything.
  for (const char c : end.reason) {
    *report.mutable_reason() += static_cast<unsigned char>(c) < 0x80U ? c : '?';
  }
  report.set_step(end.step);
  if (end.exit_code) report.set_exit_code(*end.exit_code);
  const std::string path = directory + "/exit.pb", temporary = path + ".tmp";
  static_cast<void>(::unlink((directory + "/" + wire::kExitRoomName).c_str()));
  const Result<FileDescriptor> file =
      FileDescriptor::Open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (!file.ok() || !WriteAll(file->get(), report.SerializeAsString(), temporary).ok() ||
      std::rename(temporary.c_str(), path.c_str()) != 0) {
    std::fprintf(stderr, "muster: cannot write %s\n", path.c_str());
    return false;
  }
  return true;
}

}  // namespace muster::rank
