// The cluster's store of data: DIRECTORY/objects/<2 digits>/<SHA-256>, each a file of mode 0600
// whose bytes have that hash; DIRECTORY/partial/<key> while one comes.
//
// An object is there or not: it is published by fsync and rename once its hash is right. What a
// crash leaves is the beginning of an upload, which its owner can go on with for a day. A power cut
// may damage that beginning; the hash then refuses the whole, and it comes again.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "wire/tree.h"

namespace muster::coordinator {

struct ContentStoreOptions {
  std::string directory;
  std::uint64_t bytes_max = 0;  // Of all objects; 0 = what is there and 80 % of the free disk.
  std::uint64_t object_bytes_max = wire::kObjectBytesMax;
  // How long an object that nothing refers to stays, counted from when it was last put or used.
  std::chrono::seconds grace = std::chrono::hours(24);
  std::chrono::seconds partial_grace = std::chrono::hours(24);
};

class ContentStore;

// One object on its way in. One thread at a time; a later upload of the same object by the same
// owner takes it over, after which this one is refused with kAborted.
class ContentUpload {
 public:
  ~ContentUpload();
  ContentUpload(const ContentUpload&) = delete;
  ContentUpload& operator=(const ContentUpload&) = delete;

  // kInvalidArgument beyond the announced size; kResourceExhausted when the disk is full.
  Status Write(std::string_view data);
  bool complete() const { return have_ == size_; }
  // Publishes a complete object, durably. kDataLoss when its hash is another: what came is dropped.
  Status Finish();

 private:
  friend class ContentStore;
  ContentUpload(ContentStore& store, std::string sha256, std::uint64_t size)
      : store_(store), sha256_(std::move(sha256)), size_(size) {}
  Status TakeUp(std::uint64_t offset);

  ContentStore& store_;
  const std::string sha256_;
  const std::uint64_t size_;
  std::mutex mutex_;
  bool replaced_ = false;  // Under the mutex, as everything below.
  bool there_ = false;     // The object has been in the store all along: what comes is ignored.
  std::string path_;
  FileDescriptor file_;
  Sha256 hash_;
  std::uint64_t have_ = 0;
  std::uint64_t flushed_ = 0;   // Up to where writing back was begun.
  std::uint64_t reserved_ = 0;  // Of the store's room.
};

// Thread-safe. Every hash that a caller gives is checked before it becomes part of a path.
class ContentStore {
 public:
  static Result<std::unique_ptr<ContentStore>> Open(ContentStoreOptions options);

  bool Has(const std::string& sha256) const;
  // kNotFound, kInvalidArgument for what is no SHA-256.
  Result<std::uint64_t> SizeOf(const std::string& sha256) const;
  Result<FileDescriptor> OpenObject(const std::string& sha256) const;
  // The files of the folder that the object lists; nullopt when it is any other file.
  Result<std::optional<wire::Tree>> ReadTree(const std::string& sha256) const;
  // Counts the object's grace from now. False when it is not there.
  bool Touch(const std::string& sha256);

  // Bytes that an earlier upload of `owner` left.
  std::uint64_t PartialBytes(const std::string& owner, const std::string& sha256) const;
  // kResourceExhausted, with figures, unless there is room for so many more bytes.
  Status CheckRoom(std::uint64_t more) const;
  // Begins or goes on with an upload at `offset`, at most PartialBytes.
  Result<std::shared_ptr<ContentUpload>> Begin(const std::string& owner, const std::string& sha256,
                                               std::uint64_t size, std::uint64_t offset);

  // Removes objects beyond their grace that are neither in `roots` nor files of a folder in it, and
  // uploads that nobody has gone on with. Returns the bytes it freed.
  std::uint64_t Sweep(const std::set<std::string>& roots);

  std::uint64_t bytes() const;
  std::uint64_t bytes_max() const { return options_.bytes_max; }

 private:
  friend class ContentUpload;
  explicit ContentStore(ContentStoreOptions options) : options_(std::move(options)) {}
  Status Prepare();
  std::string ObjectPath(const std::string& sha256) const;
  std::string PartialPath(const std::string& owner, const std::string& sha256) const;
  Status Publish(const std::string& partial, const std::string& sha256, std::uint64_t size);
  Status CheckRoomLocked(std::uint64_t more) const;

  ContentStoreOptions options_;
  mutable std::mutex mutex_;  // Guards what follows, and removal against use.
  std::uint64_t bytes_ = 0;
  std::uint64_t reserved_ = 0;  // Still to come of uploads under way.
  std::map<std::string, std::weak_ptr<ContentUpload>> uploads_;  // By partial path.
};

}  // namespace muster::coordinator
