#include "cli/data_transfer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <thread>

#include "base/file.h"
#include "base/sha256.h"
#include "cli/terminal.h"
#include "muster/v1/content.grpc.pb.h"
#include "wire/client_call.h"

namespace muster::cli {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kChunkBytes = std::size_t{1} << 20U;
constexpr std::size_t kBatch = 10'000;
constexpr std::chrono::milliseconds kPause{200};
constexpr std::chrono::milliseconds kDeadline{120'000};  // A folder of many files is looked at.

// Whether the same call may succeed a little later: the way was cut, or another took over.
bool MayRetry(const Status& status) {
  const auto code = static_cast<int>(status.code());
  return code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::UNKNOWN ||
         code == grpc::StatusCode::INTERNAL || code == grpc::StatusCode::CANCELLED ||
         code == grpc::StatusCode::ABORTED || code == grpc::StatusCode::DEADLINE_EXCEEDED;
}

template <class Request, class Response>
Status Unary(Session& session,
             grpc::Status (v1::ContentService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                              Response*),
             const Request& request, Response& response) {
  MUSTER_ASSIGN_OR_RETURN(const Session::Line line, session.Connect());
  v1::ContentService::Stub stub(line.channel);
  return wire::Call(stub, method, line.token, request, response, kDeadline);
}

// Repeats `once` while the cluster is away, for `patience` after the last progress.
template <class Once>
Status Patiently(Session& session, std::chrono::milliseconds patience, Once once) {
  auto last_word = steady_clock::now();
  bool told = false;
  while (true) {
    std::uint64_t moved = 0;
    Status status = once(moved);
    if (status.ok()) return status;
    if (moved > 0) {
      last_word = steady_clock::now();
      told = false;
    }
    const bool patient = steady_clock::now() - last_word < patience;
    if (!MayRetry(status) || !patient || session.interrupted()) {
      return session.Explain(std::move(status));
    }
    if (!std::exchange(told, true)) {
      session.on_word("the cluster does not answer; going on when it does");
    }
    std::this_thread::sleep_for(kPause);
  }
}

class Sender {
 public:
  Sender(Session& session, const std::vector<LocalObject>& objects) : session_(session) {
    for (const LocalObject& object : objects) objects_.emplace(object.sha256, &object);
    for (const auto& [sha256, object] : objects_) order_.push_back(object);
  }

  std::uint64_t sent() const { return sent_; }

  // Sends everything that is missing, once. `moved`: bytes that went out.
  Status Once(std::uint64_t& moved) {
    const std::uint64_t before = sent_;
    Status status = Send();
    moved = sent_ - before;
    // What was left of an earlier upload may be damaged: it has been dropped, and comes again.
    if (status.code() == StatusCode::kDataLoss && resumed_ && !std::exchange(forgiven_, true)) {
      return Unavailable(status.message());
    }
    return status;
  }

 private:
  Status Send() {
    MUSTER_ASSIGN_OR_RETURN(const Session::Line line, session_.Connect());
    v1::ContentService::Stub stub(line.channel);
    MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::MissingObject> missing, Missing(stub, line));
    if (missing.empty()) return {};
    std::uint64_t total = 0;
    for (const v1::MissingObject& object : missing) {
      total += objects_.at(object.sha256())->size - object.have();
    }
    if (bar_ == nullptr) bar_ = std::make_unique<TransferBar>("sending", total);
    grpc::ClientContext context;
    wire::Authenticate(context, line.token);
    v1::PutObjectsResponse response;
    const auto writer = stub.PutObjects(&context, &response);
    for (const v1::MissingObject& object : missing) {
      const Result<bool> more = SendOne(*writer, object);
      if (!more.ok()) {
        context.TryCancel();
        (void)writer->Finish();
        return more.status();
      }
      if (!*more) break;  // The server has answered already: Finish tells what.
    }
    writer->WritesDone();
    return wire::FromGrpc(writer->Finish());
  }

  Result<std::vector<v1::MissingObject>> Missing(v1::ContentService::Stub& stub,
                                                 const Session::Line& line) {
    std::vector<v1::MissingObject> missing;
    for (std::size_t begin = 0; begin < order_.size(); begin += kBatch) {
      v1::FindMissingRequest request;
      for (std::size_t i = begin; i < std::min(begin + kBatch, order_.size()); ++i) {
        v1::ObjectSize& object = *request.add_objects();
        object.set_sha256(order_[i]->sha256);
        object.set_size(order_[i]->size);
      }
      v1::FindMissingResponse response;
      MUSTER_RETURN_IF_ERROR(wire::Call(stub, &v1::ContentService::Stub::FindMissing, line.token,
                                        request, response, kDeadline));
      for (const v1::MissingObject& object : response.missing()) {
        if (objects_.count(object.sha256()) == 0) return DataLoss("the cluster asks for strangers");
        missing.push_back(object);
      }
    }
    return missing;
  }

  // False when the stream is over.
  Result<bool> SendOne(grpc::ClientWriter<v1::PutObjectsChunk>& writer,
                       const v1::MissingObject& missing) {
    const LocalObject& object = *objects_.at(missing.sha256());
    resumed_ = resumed_ || missing.have() > 0;
    FileDescriptor file;
    if (!object.path.empty()) {
      MUSTER_ASSIGN_OR_RETURN(file, FileDescriptor::Open(object.path, O_RDONLY | O_NONBLOCK));
    }
    chunk_.Clear();
    v1::PutObjectBegin& begin = *chunk_.mutable_begin();
    begin.set_sha256(object.sha256);
    begin.set_size(object.size);
    begin.set_offset(missing.have());
    for (std::uint64_t at = missing.have(); at < object.size || chunk_.has_begin();) {
      std::string& data = *chunk_.mutable_data();
      data.resize(std::min<std::uint64_t>(kChunkBytes, object.size - at));
      if (object.path.empty()) {
        data.assign(object.text, at, data.size());
      } else {
        const ssize_t got = ::pread(file.get(), data.data(), data.size(), static_cast<off_t>(at));
        if (got < 0) return FromErrno("read " + object.path);
        if (got == 0 && !data.empty()) {
          return DataLoss(object.path + " became shorter while it was sent; put it again");
        }
        data.resize(static_cast<std::size_t>(got));
      }
      if (!writer.Write(chunk_)) return false;
      chunk_.clear_begin();
      at += data.size();
      sent_ += data.size();
      bar_->Add(data.size());
    }
    return true;
  }

  Session& session_;
  std::map<std::string, const LocalObject*> objects_;  // Equal files are sent once.
  std::vector<const LocalObject*> order_;
  v1::PutObjectsChunk chunk_;
  std::unique_ptr<TransferBar> bar_;
  std::uint64_t sent_ = 0;
  bool resumed_ = false;
  bool forgiven_ = false;
};

// Appends what is missing of the object to `file`, once.
Status Receive(Session& session, const std::string& sha256, int file, const std::string& path,
               const std::string& label, std::unique_ptr<TransferBar>& bar, std::uint64_t& moved) {
  MUSTER_ASSIGN_OR_RETURN(const Session::Line line, session.Connect());
  v1::ContentService::Stub stub(line.channel);
  struct stat info {};
  if (::fstat(file, &info) != 0) return FromErrno("stat " + path);
  v1::GetObjectRequest request;
  request.set_sha256(sha256);
  request.set_offset(static_cast<std::uint64_t>(info.st_size));
  grpc::ClientContext context;
  wire::Authenticate(context, line.token);
  const auto reader = stub.GetObject(&context, request);
  Status failed;
  for (v1::ObjectChunk chunk; failed.ok() && reader->Read(&chunk);) {
    if (bar == nullptr && !label.empty()) {
      bar = std::make_unique<TransferBar>(label, chunk.size() - request.offset());
    }
    failed = WriteAll(file, chunk.data(), path);
    moved += chunk.data().size();
    if (bar != nullptr) bar->Add(chunk.data().size());
  }
  if (!failed.ok()) context.TryCancel();
  Status status = wire::FromGrpc(reader->Finish());
  return failed.ok() ? std::move(status) : std::move(failed);
}

}  // namespace

Result<std::uint64_t> PutObjects(Session& session, const std::vector<LocalObject>& objects,
                                 std::chrono::milliseconds patience) {
  Sender sender(session, objects);
  MUSTER_RETURN_IF_ERROR(
      Patiently(session, patience, [&](std::uint64_t& moved) { return sender.Once(moved); }));
  return sender.sent();
}

Status GetObject(Session& session, const std::string& sha256, const std::string& path,
                 const std::string& bar_label, std::chrono::milliseconds patience) {
  const std::string partial = path + ".partial";
  MUSTER_ASSIGN_OR_RETURN(
      const FileDescriptor file,
      FileDescriptor::Open(partial, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0644));
  std::unique_ptr<TransferBar> bar;
  MUSTER_RETURN_IF_ERROR(Patiently(session, patience, [&](std::uint64_t& moved) {
    return Receive(session, sha256, file.get(), partial, bar_label, bar, moved);
  }));
  MUSTER_ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(partial));
  if (digest != sha256) {
    ::unlink(partial.c_str());
    return DataLoss(path + " arrived damaged (SHA-256 " + digest + " instead of " + sha256 +
                    "); get it again");
  }
  if (::rename(partial.c_str(), path.c_str()) != 0) return FromErrno("rename " + partial);
  return {};
}

Result<v1::DataInfo> NameData(Session& session, const v1::NameDataRequest& request) {
  v1::DataInfo data;
  Status named = Unary(session, &v1::ContentService::Stub::NameData, request, data);
  if (!named.ok()) return session.Explain(std::move(named));
  return data;
}

Result<v1::ListDataResponse> ListData(Session& session) {
  v1::ListDataResponse list;
  Status listed = Unary(session, &v1::ContentService::Stub::ListData, v1::ListDataRequest(), list);
  if (!listed.ok()) return session.Explain(std::move(listed));
  return list;
}

Status RemoveData(Session& session, const std::string& name) {
  v1::RemoveDataRequest request;
  request.set_name(name);
  v1::RemoveDataResponse response;
  return session.Explain(Unary(session, &v1::ContentService::Stub::RemoveData, request, response));
}

}  // namespace muster::cli
