#include "coordinator/service/content_streams.h"

#include <unistd.h>

#include <algorithm>

namespace muster::coordinator {

void PutStream::OnReadDone(bool ok) {
  const std::lock_guard lock(mutex_);
  if (over_) return;
  if (ok) {
    const v1::PutObjectsChunk& chunk = chunks_[coming_];
    coming_ = 1 - coming_;
    StartRead(&chunks_[coming_]);  // Comes while this one is hashed and written.
    if (Status taken = Take(chunk); !taken.ok()) End(taken);
    return;
  }
  // What came of the object that is cut off stays, for the next try.
  if (upload_ != nullptr) {
    return End({StatusCode::kCancelled, "the upload ended early"});
  }
  End({});
}

void PutStream::End(const Status& status) {
  over_ = true;
  ended_(status);
  Finish(wire::ToGrpc(status));
}

Status PutStream::Take(const v1::PutObjectsChunk& chunk) {
  if (chunk.has_begin()) {
    if (upload_ != nullptr) return InvalidArgument("an object begins before another has ended");
    const v1::PutObjectBegin& begin = chunk.begin();
    MUSTER_ASSIGN_OR_RETURN(
        upload_, content_.store().Begin(owner_, begin.sha256(), begin.size(), begin.offset()));
  }
  if (upload_ == nullptr) return InvalidArgument("data before an object's beginning");
  MUSTER_RETURN_IF_ERROR(upload_->Write(chunk.data()));
  if (!upload_->complete()) return {};
  MUSTER_RETURN_IF_ERROR(upload_->Finish());
  upload_.reset();
  response_->set_objects(response_->objects() + 1);
  return {};
}

Status GetStream::Open() {
  MUSTER_ASSIGN_OR_RETURN(file_, content_.store().OpenObject(request_.sha256()));
  MUSTER_ASSIGN_OR_RETURN(size_, content_.store().SizeOf(request_.sha256()));
  if (at_ <= size_) return {};
  return InvalidArgument("the object has " + std::to_string(size_) + " bytes only");
}

GetStream::Next GetStream::Produce(v1::ObjectChunk& chunk) {
  constexpr std::uint64_t kPieceBytes = 1U << 20U;
  const bool first = !file_.valid();
  if (first) {
    if (Status opened = Open(); !opened.ok()) {
      End(opened);
      return Next::kWait;
    }
    chunk.set_size(size_);
  }
  if (at_ == size_ && !first) {
    End({});
    return Next::kWait;
  }
  std::string& data = *chunk.mutable_data();
  data.resize(std::min(kPieceBytes, size_ - at_));
  const ssize_t got = ::pread(file_.get(), data.data(), data.size(), static_cast<off_t>(at_));
  if (got < 0 || (got == 0 && at_ < size_)) {
    End(DataLoss("object " + request_.sha256() + " cannot be read whole"));
    return Next::kWait;
  }
  data.resize(static_cast<std::size_t>(got));
  at_ += data.size();
  return Next::kWrite;
}

}  // namespace muster::coordinator
