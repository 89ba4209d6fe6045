#include "collectives/gloo/gloo_store.h"

#include <gloo/common/error.h>

#include "collectives/failure.h"

namespace muster {

void GlooStore::set(const std::string& key, const std::vector<char>& data) {
  failure_ = rendezvous_.Put(prefix_ + "/" + key, {data.data(), data.size()});
  if (!failure_.ok()) throw gloo::IoException(failure_.message());
}

std::vector<char> GlooStore::get(const std::string& key) {
  auto bytes = rendezvous_.Get(prefix_ + "/" + key, timeout_);
  if (bytes.ok()) return {bytes->begin(), bytes->end()};
  failure_ = bytes.status();
  // Gloo names a rank's key after the rank.
  if (failure_.code() == StatusCode::kDeadlineExceeded) {
    failure_ = Status(failure_.code(), "no word from rank " + key + " for " + Seconds(timeout_) +
                                           " (" + failure_.message() + ")");
  }
  throw gloo::IoException(failure_.message());
}

void GlooStore::wait(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) get(key);
}

void GlooStore::wait(const std::vector<std::string>& keys,
                     const std::chrono::milliseconds& /*timeout*/) {
  wait(keys);
}

}  // namespace muster
