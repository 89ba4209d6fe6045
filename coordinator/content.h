// Data of the cluster: the store's objects, the names they have, and what job files mean by them.
//
// Names are the cluster's: every user may read by one, and it belongs to who gave it first, who
// alone may move or remove it. Thread-safe; what is journaled comes and goes on the event loop.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/store/content_store.h"
#include "muster/v1/content.pb.h"
#include "muster/v1/job.pb.h"

namespace muster::coordinator {

class Content {
 public:
  static Result<std::unique_ptr<Content>> Open(ContentStoreOptions options,
                                               std::vector<v1::DataInfo> names);

  ContentStore& store() { return *store_; }

  // What of a list of objects is missing. kResourceExhausted when it has no room.
  Result<v1::FindMissingResponse> FindMissing(const std::string& owner,
                                              const v1::FindMissingRequest& request);
  // Kind, size and files of an object, all of whose files are there; their grace begins anew.
  // kNotFound names what is missing.
  Result<v1::DataInfo> Inspect(const std::string& sha256);
  v1::ListDataResponse List() const;

  // Whether `owner` may move or remove the name: kPermissionDenied names whose it is.
  Status CheckOwner(const std::string& owner, const std::string& name) const;
  // kNotFound, with the nearest name.
  Result<v1::DataInfo> Find(const std::string& name) const;
  void Set(const v1::DataInfo& data);
  void Remove(const std::string& name);

  // `spec` with every reference replaced by sha256:HEX of the file it means now. kInvalidArgument
  // begins with the field's name; names the nearest for an unknown one.
  Result<v1::JobSpec> Resolve(const v1::JobSpec& spec);

  // Objects that `spec`, resolved, needs.
  static void AddRoots(const v1::JobSpec& spec, std::set<std::string>& roots);
  // Removes what no name and none of `roots` refers to. Takes a while: not on the event loop.
  void Sweep(std::set<std::string> roots);

 private:
  explicit Content(std::unique_ptr<ContentStore> store) : store_(std::move(store)) {}
  Result<std::string> ResolveValue(const std::string& value, bool folder);
  // kInvalidArgument for one that is too large to be sent with a job.
  Status CheckPluginSize(const std::string& resolved) const;

  std::unique_ptr<ContentStore> store_;
  mutable std::mutex mutex_;  // Guards names_.
  std::map<std::string, v1::DataInfo> names_;
};

// `spec` with its references replaced by what `journaled` has in their place: equal specs then mean
// the same request, whatever a name has come to stand for since.
v1::JobSpec WithReferencesOf(const v1::JobSpec& journaled, v1::JobSpec spec);

}  // namespace muster::coordinator
