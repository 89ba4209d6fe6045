// Workers as people see and take them out of service.
#include <algorithm>
#include <cstdio>

#include "coordinator/busy.h"
#include "coordinator/clock.h"
#include "coordinator/coordinator.h"
#include "wire/printable.h"

namespace muster::coordinator {
namespace {

constexpr std::size_t kReasonMax = 200;
constexpr std::uint64_t kDeadlineMaxSeconds = 30ULL * 86'400;

Status NoSuchWorker(const std::string& name) {
  return NotFound("no worker " + name + "; `muster nodes` names them");
}

std::string StateOf(const WorkerView& view) {
  if (view.lost) return "lost";
  if (view.drain) return view.slots_used > 0 ? "draining" : "drained";
  return view.leaving ? "leaving" : "ready";
}

}  // namespace

v1::NodeInfo Coordinator::DescribeNode(const WorkerView& view, Millis now) const {
  v1::NodeInfo node;
  const auto found = workers_.find(view.worker);
  node.set_worker(view.worker);
  node.set_state(found == workers_.end() && !view.lost ? "expected" : StateOf(view));
  if (view.drain) {
    node.set_reason(view.drain->reason);
    node.set_drained(true);
  }
  node.set_slots(view.slots);
  node.set_slots_used(view.slots_used);
  node.set_last_contact_ms(now - view.last_seen);
  if (found == workers_.end()) return node;
  const v1::AgentReport& last = found->second.last;
  node.set_host(last.host());
  node.set_address(last.address());
  node.set_cores_per_slot(last.cores_per_slot());
  node.set_memory_mib_per_slot(last.memory_mib_per_slot());
  node.set_version(last.version());
  node.set_numerics_class(last.numerics_class());
  node.set_pid(view.lost ? 0 : last.pid());
  *node.mutable_gpus() = last.gpus();
  return node;
}

Result<v1::NodeInfo> Coordinator::FindNode(const WorkerName& name) const {
  for (const WorkerView& view : scheduler_.Workers()) {
    if (view.worker == name) return DescribeNode(view, SteadyMillis());
  }
  return NoSuchWorker(name);
}

void Coordinator::ListNodes(Done<v1::ListNodesResponse> done) {
  const bool posted = loop_.Post([this, done] {
    v1::ListNodesResponse response;
    const Millis now = SteadyMillis();
    for (const WorkerView& view : scheduler_.Workers()) {
      *response.add_nodes() = DescribeNode(view, now);
    }
    done(std::move(response));
  });
  if (!posted) done({});
}

Status Coordinator::RestoreDrains() {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<JournaledDrain> drains, journal_->LoadDrains());
  const Millis now = SteadyMillis();
  for (const JournaledDrain& drain : drains) {
    const Millis left_ms = drain.deadline_ms - WallMillis();
    scheduler_.SetDrain(
        drain.worker,
        {drain.reason, drain.deadline_ms == 0 ? 0 : std::max<Millis>(now + left_ms, 1)}, now);
  }
  return {};
}

void Coordinator::DrainWorker(const v1::DrainWorkerRequest& request, const std::string& who,
                              Done<Result<v1::NodeInfo>> done) {
  const bool posted = loop_.Post([this, request, who, done] {
    const std::string& why = request.reason();
    if (why.size() > kReasonMax || wire::Printable(why, kReasonMax) != why) {
      return done(InvalidArgument("reason: one line of at most " + std::to_string(kReasonMax) +
                                  " bytes, in UTF-8, without control characters"));
    }
    if (request.deadline_seconds() > kDeadlineMaxSeconds) {
      return done(InvalidArgument("deadline_seconds: at most 30 days"));
    }
    if (!scheduler_.KnowsWorker(request.worker())) return done(NoSuchWorker(request.worker()));
    const auto deadline_ms = static_cast<Millis>(request.deadline_seconds()) * 1'000;
    const bool bounded = request.has_deadline_seconds();
    JournaledDrain drain{request.worker(), "drained by " + who + (why.empty() ? "" : ": " + why),
                         bounded ? WallMillis() + deadline_ms : 0};
    Must(journal_->SetDrain(drain));
    const Millis now = SteadyMillis();
    scheduler_.SetDrain(drain.worker, {drain.reason, bounded ? now + deadline_ms : 0}, now);
    Reply([this, done, name = drain.worker] { done(FindNode(name)); });
  });
  if (!posted) done(Busy());
}

void Coordinator::ResumeWorker(const v1::ResumeWorkerRequest& request,
                               Done<Result<v1::NodeInfo>> done) {
  const bool posted = loop_.Post([this, name = request.worker(), done] {
    if (!scheduler_.KnowsWorker(name)) return done(NoSuchWorker(name));
    if (!scheduler_.EndDrain(name)) {
      return done(FailedPrecondition("worker " + name + " is not drained"));
    }
    Must(journal_->RemoveDrain(name));
    Reply([this, done, name] { done(FindNode(name)); });
  });
  if (!posted) done(Busy());
}

}  // namespace muster::coordinator
