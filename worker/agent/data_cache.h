// Objects of the cluster's store on this worker's disk: DIRECTORY/<2 digits>/<SHA-256>, mode 0444.
//
// An object is hashed before it is handed out: when it comes, and again when its file is not the
// one that was hashed last (or this agent has never hashed it). What is damaged is fetched anew.
// Beyond the cap the objects that were used longest ago go, except those that live attempts use.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "base/status.h"

namespace muster::agent {

class DataCache {
 public:
  using AttemptKey = std::pair<std::uint64_t, std::uint32_t>;  // Job and attempt.
  using Cancelled = std::function<bool()>;
  // Appends the object's bytes from `offset` on to the open file; called again while it returns a
  // status that `away` holds of.
  struct Source {
    std::function<Status(const std::string& sha256, std::uint64_t offset, int file,
                         const Cancelled& cancelled)>
        fetch;
    std::function<bool(const Status&)> away;
    std::function<bool()> pause;  // Between tries; false = give up.
  };

  // Takes up what is in `directory`; `bytes_max` bounds what no live attempt uses.
  DataCache(std::string directory, std::uint64_t bytes_max, Source source);

  // The path of the object's bytes, valid until the attempt is released. Of several callers one
  // fetches, the others wait. kDataLoss when what comes has another hash; kCancelled.
  Result<std::string> Get(const std::string& sha256, const AttemptKey& attempt,
                          const Cancelled& cancelled);
  void Release(const AttemptKey& attempt);

 private:
  // Which bytes were hashed: any write to the file changes it.
  using Identity = std::tuple<std::uint64_t, std::int64_t, std::int64_t, std::int64_t>;
  struct Entry {
    std::uint64_t size = 0;
    std::uint64_t used = 0;  // Grows with every use.
    Identity hashed{};
  };
  std::string PathOf(const std::string& sha256) const;
  static Result<Identity> IdentityOf(const std::string& path);
  bool Intact(const std::string& sha256, const Entry& entry) const;
  Result<Entry> Fetch(const std::string& sha256, const Cancelled& cancelled);
  Result<Entry> FindOrFetch(const std::string& sha256, const Entry* known,
                            const Cancelled& cancelled);
  // Under the mutex.
  void MakeRoom();

  const std::string directory_;
  const std::uint64_t bytes_max_;
  const Source source_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::map<std::string, Entry> entries_;
  std::set<std::string> busy_;  // Being looked at or fetched by one caller.
  std::map<AttemptKey, std::set<std::string>> uses_;
  std::uint64_t clock_ = 0;
};

}  // namespace muster::agent
