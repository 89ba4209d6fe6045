#include "worker/agent/job_data.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "muster/v1/content.grpc.pb.h"
#include "wire/data_reference.h"

namespace muster::agent {
namespace {

constexpr std::chrono::hours kTransferMax(2);

std::string Cause(const Status& status) {
  const std::size_t colon = status.message().rfind(": ");
  return colon == std::string::npos ? status.message() : status.message().substr(colon + 2);
}

bool IsEmptyFolder(int folder) {
  DIR* const open = ::fdopendir(folder);
  if (open == nullptr) return false;
  int names = 0;
  while (names < 3 && ::readdir(open) != nullptr) ++names;
  ::closedir(open);
  return names < 3;  // "." and "..".
}

// What is wrong with data at `path`; empty = nothing.
std::string PathProblem(const std::string& path) {
  // O_NONBLOCK: opening a pipe would wait for its writer.
  Result<FileDescriptor> file = FileDescriptor::Open(path, O_RDONLY | O_NONBLOCK);
  if (!file.ok()) return Cause(file.status());
  struct stat info {};
  if (::fstat(file->get(), &info) != 0) return Cause(FromErrno("stat"));
  if (S_ISDIR(info.st_mode)) return IsEmptyFolder(file->Release()) ? "the folder is empty" : "";
  if (!S_ISREG(info.st_mode)) return "is neither a file nor a folder";
  return info.st_size == 0 ? "the file is empty" : "";
}

// A full disk here must not look like a busy coordinator, which is asked again.
Status OnDisk(const Status& written) {
  return written.ok() ? written : FailedPrecondition(written.message());
}

}  // namespace

bool NamesData(const v1::JobSpec& spec) {
  bool any = false;
  v1::JobSpec copy = spec;
  static_cast<void>(wire::MapDataFields(
      copy, [&any](const std::string&, const std::string& value) -> Result<std::string> {
        any = true;
        return value;
      }));
  return any;
}

JobData PrepareJobData(DataCache& cache, const std::string& worker, const v1::JobSpec& spec,
                       const DataCache::AttemptKey& attempt,
                       const DataCache::Cancelled& cancelled) {
  JobData data;
  data.spec = spec;
  data.status = wire::MapDataFields(
      data.spec, [&](const std::string& field, const std::string& value) -> Result<std::string> {
        if (!wire::IsDataReference(value)) {
          const std::string problem = PathProblem(value);
          if (problem.empty()) return value;
          data.own_failure = true;
          return FailedPrecondition("worker " + worker + " lacks " + value + ": " + problem +
                                    "; put it there, or `muster put` it");
        }
        MUSTER_ASSIGN_OR_RETURN(const wire::DataReference reference,
                                wire::ParseDataReference(value));
        Result<std::string> path = cache.Get(reference.sha256, attempt, cancelled);
        if (path.ok()) return path;
        data.own_failure = path.status().code() == StatusCode::kNotFound;
        return Status(path.status().code(), "worker " + worker + " cannot fetch " + field + " (" +
                                                value + "): " + path.status().message());
      });
  return data;
}

DataCache::Source FetchFrom(CoordinatorLink& link) {
  DataCache::Source source;
  source.fetch = [&link](const std::string& sha256, std::uint64_t offset, int file,
                         const DataCache::Cancelled& cancelled) -> Status {
    const auto channel = link.bulk_channel();
    if (channel == nullptr) return Unavailable("the coordinator's address is not known yet");
    v1::ContentService::Stub stub(channel);
    CoordinatorLink::Context context(link);
    context.SetDeadline(kTransferMax);
    v1::GetObjectRequest request;
    request.set_sha256(sha256);
    request.set_offset(offset);
    const auto reader = stub.FetchObject(&*context, request);
    Status failed;
    for (v1::ObjectChunk chunk; failed.ok() && reader->Read(&chunk);) {
      link.Heard();
      failed = cancelled() ? Status(StatusCode::kCancelled, "no longer wanted")
                           : OnDisk(WriteAll(file, chunk.data(), "object " + sha256));
    }
    if (!failed.ok()) context->TryCancel();
    Status finished = link.Finish(reader->Finish());
    return failed.ok() ? std::move(finished) : std::move(failed);
  };
  source.away = [](const Status& status) { return CoordinatorLink::IsAway(status.code()); };
  source.pause = [&link] { return link.Pause(std::chrono::milliseconds(200)); };
  return source;
}

}  // namespace muster::agent
