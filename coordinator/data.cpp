// The part of the coordinator that journals names of data and removes what nothing refers to.
#include "coordinator/busy.h"
#include "coordinator/clock.h"
#include "coordinator/coordinator.h"
#include "coordinator/journal/content.h"
#include "wire/data_reference.h"
#include "wire/printable.h"

namespace muster::coordinator {
Status Coordinator::OpenContent() {
  MUSTER_ASSIGN_OR_RETURN(std::vector<v1::DataInfo> names, LoadDataNames(*journal_));
  ContentStoreOptions options;
  options.directory = options_.directory + "/content";
  options.bytes_max = options_.store_bytes_max;
  MUSTER_ASSIGN_OR_RETURN(content_, Content::Open(std::move(options), std::move(names)));
  return {};
}

void Coordinator::NameData(const std::string& owner, const v1::NameDataRequest& request,
                           Done<Result<v1::DataInfo>> done) {
  if (!wire::IsDataName(request.name())) {
    return done(
        InvalidArgument("the name must be 1 to 100 letters, digits, '-', '_' and '.', the "
                        "first a letter or digit, but is " +
                        wire::Quoted(request.name())));
  }
  // On the caller's thread: a folder of many files takes a while.
  Result<v1::DataInfo> data = content_->Inspect(request.sha256());
  if (!data.ok()) return done(data.status());
  data->set_name(request.name());
  data->set_owner(owner);
  data->set_named_ms(WallMillis());
  const bool posted = loop_.Post([this, owner, data = *data, done] {
    if (const Status mine = content_->CheckOwner(owner, data.name()); !mine.ok()) {
      return done(Status(mine.code(), mine.message() + "; choose another"));
    }
    Must(JournalDataName(*journal_, data));
    // At once, so that a later request of this batch sees whose it is; it is told once durable.
    content_->Set(data);
    Reply([done, data] { done(data); });
  });
  if (!posted) done(Busy());
}

void Coordinator::RemoveData(const std::optional<std::string>& only_of, const std::string& name,
                             Done<Status> done) {
  const bool posted = loop_.Post([this, only_of, name, done] {
    if (const auto found = content_->Find(name); !found.ok()) return done(found.status());
    if (only_of) {
      if (Status mine = content_->CheckOwner(*only_of, name); !mine.ok()) return done(mine);
    }
    Must(JournalDataRemoval(*journal_, name));
    content_->Remove(name);
    Reply([this, done] {
      done({});
      SweepContent();
    });
  });
  if (!posted) done(Busy());
}

void Coordinator::SweepContent() {
  std::set<std::string> roots;
  for (const JobId id : jobs_.live()) Content::AddRoots(jobs_.Find(id)->spec, roots);
  static_cast<void>(sweeper_.Post(
      [this, roots = std::move(roots)]() mutable { content_->Sweep(std::move(roots)); }));
}

}  // namespace muster::coordinator
