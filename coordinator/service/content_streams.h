// The streams that carry data into the store and out of it.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/file.h"
#include "coordinator/content.h"
#include "coordinator/service/write_stream.h"

namespace muster::coordinator {

// Receives objects one after another; each is published as soon as it is whole.
class PutStream final : public grpc::ServerReadReactor<v1::PutObjectsChunk> {
 public:
  // Deletes itself when gRPC is done with it.
  PutStream(Content& content, std::string owner, v1::PutObjectsResponse* response,
            std::function<void(const Status&)> ended)
      : content_(content), owner_(std::move(owner)), response_(response), ended_(std::move(ended)) {
    StartRead(&chunks_[0]);
  }
  void OnReadDone(bool ok) override;
  void OnDone() override { delete this; }

 private:
  Status Take(const v1::PutObjectsChunk& chunk);
  void End(const Status& status);

  Content& content_;
  const std::string owner_;
  v1::PutObjectsResponse* response_;
  const std::function<void(const Status&)> ended_;
  std::mutex mutex_;                           // The next message may be here while one is taken.
  std::array<v1::PutObjectsChunk, 2> chunks_;  // One comes while the other is taken.
  std::size_t coming_ = 0;
  bool over_ = false;
  std::shared_ptr<ContentUpload> upload_;  // The object that is coming.
};

// One object from an offset on, in pieces of 1 MiB.
class GetStream final : public WriteStream<v1::ObjectChunk> {
 public:
  GetStream(Content& content, v1::GetObjectRequest request)
      : content_(content), request_(std::move(request)), at_(request_.offset()) {}

 protected:
  Next Produce(v1::ObjectChunk& chunk) override;

 private:
  Status Open();

  Content& content_;
  v1::GetObjectRequest request_;
  FileDescriptor file_;  // Open from the first piece on: an object that is removed still arrives.
  std::uint64_t size_ = 0;
  std::uint64_t at_ = 0;
};

}  // namespace muster::coordinator
