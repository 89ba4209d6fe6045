#include "coordinator/service/checkpoint_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace muster::coordinator {

void DownloadStream::Start() {
  const auto self = std::static_pointer_cast<DownloadStream>(shared_from_this());
  std::optional<std::uint64_t> step;
  if (request_.has_step()) step = request_.step();
  coordinator_.FindCheckpoint(Claim(request_.job_id()), step, [self](auto found) {
    if (!found.ok()) return self->End(found.status());
    self->begin_ = found->first;
    // On the loop, which also removes checkpoints: none goes between finding and opening.
    if (Status opened = self->OpenFiles(found->second); !opened.ok()) return self->End(opened);
    self->Wake();
  });
}

Status DownloadStream::OpenFiles(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    names.push_back(entry.path().filename().string());
  }
  if (error) return NotFound(directory + ": " + error.message());
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    MUSTER_ASSIGN_OR_RETURN(FileDescriptor file,
                            FileDescriptor::Open(directory + "/" + name, O_RDONLY));
    files_.push_back({name, std::move(file)});
  }
  return {};
}

DownloadStream::Next DownloadStream::Produce(v1::CheckpointChunk& chunk) {
  constexpr std::size_t kPieceBytes = 1U << 20U;
  if (!begun_) {
    begun_ = true;
    *chunk.mutable_begin() = begin_;
    return Next::kWrite;
  }
  while (file_ < files_.size()) {
    const File& file = files_[file_];
    std::string& data = *chunk.mutable_data();
    data.resize(kPieceBytes);
    const ssize_t got = ::read(file.descriptor.get(), data.data(), data.size());
    if (got < 0) {
      End(FromErrno("read " + file.name));
      return Next::kWait;
    }
    data.resize(static_cast<std::size_t>(got));
    if (!named_) chunk.set_path(file.name);
    if (got > 0 || !named_) {  // An empty file is named as well.
      named_ = true;
      return Next::kWrite;
    }
    ++file_;
    named_ = false;
  }
  End({});
  return Next::kWait;
}

UploadStream* UploadStream::Begin(Coordinator& coordinator, WorkerName worker) {
  std::shared_ptr<UploadStream> stream(new UploadStream(coordinator, std::move(worker)));
  stream->self_ = stream;
  stream->StartRead(&stream->chunk_);
  return stream.get();
}

void UploadStream::OnReadDone(bool ok) {
  if (ok) {
    if (Status taken = Take(); !taken.ok()) return End(taken);
    chunk_.Clear();
    StartRead(&chunk_);
    return;
  }
  if (upload_ == nullptr) return End(InvalidArgument("a checkpoint without its beginning"));
  if (Status whole = upload_->Finish(begin_.sha256(), begin_.step()); !whole.ok()) {
    return End(whole);
  }
  coordinator_.Publish(worker_, std::move(upload_), begin_,
                       [self = shared_from_this()](const Status& status) { self->End(status); });
}

Status UploadStream::Take() {
  if (chunk_.has_begin()) {
    if (upload_ != nullptr) return InvalidArgument("a checkpoint begins twice");
    begin_ = chunk_.begin();
    MUSTER_ASSIGN_OR_RETURN(upload_, coordinator_.BeginUpload(begin_));
  }
  if (upload_ == nullptr) return InvalidArgument("a checkpoint without its beginning");
  if (!chunk_.path().empty()) MUSTER_RETURN_IF_ERROR(upload_->OpenFile(chunk_.path()));
  if (!chunk_.data().empty()) MUSTER_RETURN_IF_ERROR(upload_->Write(chunk_.data()));
  return {};
}

void UploadStream::End(const Status& status) { Finish(wire::ToGrpc(status)); }

}  // namespace muster::coordinator
