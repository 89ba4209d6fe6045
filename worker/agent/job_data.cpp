#include "worker/agent/job_data.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/file.h"
#include "muster/v1/content.grpc.pb.h"
#include "wire/data_reference.h"
#include "wire/manifest.h"
#include "wire/plugin_rules.h"
#include "wire/tree.h"
#include "worker/agent/folders.h"

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

// A full disk here must not look like a busy coordinator, which is asked again.
Status OnDisk(const Status& written) {
  return written.ok() ? written : FailedPrecondition(written.message());
}

Status CopyFile(const std::string& from, const std::string& to, mode_t mode) {
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor source, FileDescriptor::Open(from, O_RDONLY));
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor target,
                          FileDescriptor::Open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
  std::string block(std::size_t{1} << 18U, '\0');
  while (true) {
    const ssize_t got = ::read(source.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno("read " + from);
    if (got == 0) return {};
    const std::string_view bytes(block.data(), static_cast<std::size_t>(got));
    MUSTER_RETURN_IF_ERROR(WriteAll(target.get(), bytes, to));
  }
}

// The folder that the list at `list_path` names; a copy, since programs may change it.
Status CopyTree(DataCache& cache, const std::string& list_path,
                const DataCache::AttemptKey& attempt, const std::string& folder,
                const DataCache::Cancelled& cancelled) {
  MUSTER_ASSIGN_OR_RETURN(const std::string text, ReadFile(list_path, wire::kTreeBytesMax));
  MUSTER_ASSIGN_OR_RETURN(const wire::Tree tree, wire::ParseTree(text));
  RemoveFolder(folder);
  MUSTER_RETURN_IF_ERROR(OnDisk(MakeDirectories(folder, 0700)));
  for (const wire::TreeEntry& entry : tree.entries) {
    MUSTER_ASSIGN_OR_RETURN(const std::string from, cache.Get(entry.sha256, attempt, cancelled));
    const std::string to = folder + "/" + entry.path;
    MUSTER_RETURN_IF_ERROR(OnDisk(MakeDirectories(to.substr(0, to.rfind('/')))));
    MUSTER_RETURN_IF_ERROR(OnDisk(CopyFile(from, to, entry.executable ? 0755 : 0644)));
  }
  return {};
}

// Where ranks find a plug-in that was shipped: under its own name, by which it is told of. It may
// be there already, and in use: a rollout worker of the attempt comes when others run.
Result<std::string> LinkPlugin(const std::string& object, const v1::JobSpec& spec,
                               const std::string& folder) {
  const std::optional<wire::JobPlugin> plugin = wire::PluginOf(spec);
  if (!plugin || !wire::IsPlainFileName(plugin->name)) {
    return InvalidArgument("a plug-in's name must be a plain file name");
  }
  MUSTER_RETURN_IF_ERROR(OnDisk(MakeDirectories(folder, 0700)));
  const std::string path = folder + "/" + plugin->name;
  const std::string fresh = path + ".new";
  ::unlink(fresh.c_str());
  if (::symlink(object.c_str(), fresh.c_str()) != 0) return OnDisk(FromErrno("link " + fresh));
  if (::rename(fresh.c_str(), path.c_str()) != 0) return OnDisk(FromErrno("rename " + fresh));
  return path;
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
                       const DataCache::AttemptKey& attempt, const std::string& work_folder,
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
        if (path.ok() && field == wire::kShippedField) {
          const Status copied = CopyTree(cache, *path, attempt, work_folder, cancelled);
          path = copied.ok() ? Result<std::string>(work_folder) : Result<std::string>(copied);
        }
        if (path.ok() && wire::IsPluginField(field)) {
          path = LinkPlugin(*path, spec, work_folder);
        }
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
