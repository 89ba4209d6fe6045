#include "collectives/rendezvous.h"

#include <algorithm>
#include <thread>

#include "base/file.h"
#include "collectives/failure.h"

namespace muster {
namespace {

Status NotThere(const std::string& key, std::chrono::milliseconds timeout) {
  return {StatusCode::kDeadlineExceeded,
          "rendezvous: nobody has put \"" + key + "\" for " + Seconds(timeout)};
}

}  // namespace

Status MemoryRendezvous::Put(const std::string& key, std::string_view bytes) {
  const std::scoped_lock lock(mutex_);
  if (!values_.emplace(key, bytes).second) {
    return {StatusCode::kAlreadyExists, "rendezvous: \"" + key + "\" is there already"};
  }
  changed_.notify_all();
  return {};
}

Result<std::string> MemoryRendezvous::Get(const std::string& key,
                                          std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  const auto there = [&] { return values_.count(key) > 0; };
  if (!changed_.wait_for(lock, timeout, there)) return NotThere(key, timeout);
  return values_.at(key);
}

std::string FileRendezvous::Path(const std::string& key) const {
  std::string name = key;
  std::replace(name.begin(), name.end(), '/', '+');
  return folder_ + "/" + name;
}

Status FileRendezvous::Put(const std::string& key, std::string_view bytes) {
  if (ReadFile(Path(key)).ok()) {
    return {StatusCode::kAlreadyExists, "rendezvous: \"" + key + "\" is there already"};
  }
  return WriteFileAtomically(Path(key), bytes).During("rendezvous: put \"" + key + "\"");
}

Result<std::string> FileRendezvous::Get(const std::string& key, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    auto bytes = ReadFile(Path(key));
    if (bytes.ok()) return bytes;
    if (bytes.status().code() != StatusCode::kNotFound) {
      return std::move(bytes.status()).During("rendezvous: get \"" + key + "\"");
    }
    if (std::chrono::steady_clock::now() >= deadline) return NotThere(key, timeout);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace muster
