#include "worker/agent/agent.h"

#include <net/if.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "base/uuid.h"
#include "worker/agent/agent_http.h"
#include "worker/agent/checkpoint_transfer.h"
#include "worker/agent/connection.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/data_cache.h"
#include "worker/agent/job_data.h"
#include "worker/agent/log.h"
#include "worker/agent/machine.h"
#include "worker/agent/network.h"
#include "worker/agent/numerics.h"
#include "worker/agent/rank_server.h"
#include "worker/agent/spool_forwarder.h"
#include "worker/agent/supervisor.h"

namespace muster::agent {
namespace {

// No checkpoint is waited for when the coordinator, which would have to take it, is silent so long.
constexpr std::chrono::seconds kAwayAfter(3);

SupervisorOptions SupervisorFor(const AgentOptions& options) {
  SupervisorOptions supervisor;
  RankSettings& ranks = supervisor.ranks;
  ranks.worker_directory = options.files.worker(options.number);
  ranks.tag = Sha256Of(ranks.worker_directory).substr(0, 8);
  ranks.executable = options.rank_executable;
  ranks.arguments = options.rank_arguments;
  ranks.cache_directory = options.files.cache();
  ranks.orphan_timeout_ms = options.orphan_timeout.count();
  supervisor.slot_cores =
      DealCores(options.cores.empty() ? AvailableCores() : options.cores, options.slots);
  ranks.cores_per_slot = static_cast<std::uint32_t>(supervisor.slot_cores.front().size());
  const std::uint64_t memory_mib =
      options.memory_mib == 0 ? AvailableMemoryMib() : options.memory_mib;
  ranks.memory_mib_per_slot = memory_mib / options.slots;
  return supervisor;
}

// A coordinator that cannot be found yet is no reason not to start: until then only this machine is
// certain.
Result<std::string> ChooseInterface(const AgentOptions& options) {
  if (!options.interface.empty()) {
    if (::if_nametoindex(options.interface.c_str()) != 0) return options.interface;
    return FromErrno("interface " + options.interface);
  }
  std::string address = options.coordinator;
  bool beyond = false;
  if (address.empty()) {
    const Result<wire::Endpoint> endpoint = wire::ReadEndpoint(options.files.address());
    if (!endpoint.ok()) return std::string("lo");
    address = endpoint->address;
    beyond = endpoint->tls;
  }
  const Result<std::string> towards = InterfaceTowards(address, beyond);
  if (towards.ok()) return towards;
  Log("cannot tell which interface leads to " + address + " (" + towards.status().message() +
      "): jobs over several hosts will not find this one; name it with --interface");
  return std::string("lo");
}

v1::AgentReport IdentityOf(const AgentOptions& options, const RankSettings& ranks) {
  v1::AgentReport identity;
  identity.set_worker(options.name.empty() ? HostName() + "-" + std::to_string(options.number)
                                           : options.name);
  identity.set_incarnation(NewUuid());
  identity.set_slots(options.slots);
  identity.set_cores_per_slot(ranks.cores_per_slot);
  identity.set_memory_mib_per_slot(ranks.memory_mib_per_slot);
  identity.set_host(HostName());
  identity.set_host_id(HostId());
  identity.set_address(AddressOf(ranks.interface));
  for (const v1::GpuInfo& gpu : Gpus()) *identity.add_gpus() = gpu;
  identity.set_version(options.version);
  identity.set_numerics_class(NumericsClass(ranks.executable));
  identity.set_pid(::getpid());
  return identity;
}

Status FetchFor(CoordinatorLink& link, const v1::DesiredRank& desired, const std::string& directory,
                const std::function<bool()>& cancelled) {
  v1::DownloadCheckpointRequest request;
  request.set_job_id(desired.job_id());
  request.set_step(desired.resume_step());
  return FetchCheckpoint(link, request, desired.resume_sha256(), directory,
                         [&] { return cancelled() || link.stopped(); });
}

}  // namespace

Status RunAgent(const AgentOptions& options, int stop) {
  if (options.slots == 0) return InvalidArgument("a worker needs at least one slot");
  const std::string directory = options.files.worker(options.number);
  MUSTER_RETURN_IF_ERROR(MakeDirectories(directory, 0700));
  MUSTER_RETURN_IF_ERROR(MakeDirectories(options.files.cache(), 0755));
  MUSTER_ASSIGN_OR_RETURN(const LockFile lock,
                          LockFile::Acquire(options.files.worker_lock(options.number)));
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return FromErrno("become a subreaper");

  SupervisorOptions settings = SupervisorFor(options);
  MUSTER_ASSIGN_OR_RETURN(settings.ranks.interface, ChooseInterface(options));
  const v1::AgentReport identity = IdentityOf(options, settings.ranks);
  CoordinatorLink link(options.coordinator, options.files.address(), options.token,
                       options.security);

  // The parts call each other; they are made in an order in which nothing calls what is not there
  // yet, and unmade in the reverse one.
  Supervisor* supervisor_reference = nullptr;
  Connection* connection_reference = nullptr;
  SpoolForwarderOptions spool_options;
  spool_options.poll = options.spool_poll;
  SpoolForwarder spool(
      spool_options,
      [&link](const v1::AppendRequest& request) -> Result<std::uint64_t> {
        v1::AppendResponse response;
        MUSTER_RETURN_IF_ERROR(link.Call(&CoordinatorLink::Stub::Append, false, request, response,
                                         std::chrono::seconds(10)));
        return response.size();
      },
      [&supervisor_reference](const RankKey& key) { supervisor_reference->Drained(key); });
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<RankServer> server,
                          RankServer::Start(
                              link, spool,
                              [&supervisor_reference](const v1::BeatRequest& beat) {
                                return supervisor_reference->Beat(beat);
                              },
                              directory + "/socket_folder"));
  settings.ranks.rank_service = server->address();
  settings.leave = options.leave;
  settings.coordinator_hears = [&link] { return link.Silence() < kAwayAfter; };
  DataCache data(directory + "/data", options.data_bytes_max, FetchFrom(link));
  Supervisor supervisor(
      std::move(settings), spool,
      [&link](const auto& desired, const auto& folder, const auto& cancelled) {
        return FetchFor(link, desired, folder, cancelled);
      },
      {[&data, &link, worker = identity.worker(), directory](
           const v1::DesiredRank& desired, const std::function<bool()>& cancelled) {
         return PrepareJobData(data, worker, desired.spec(), {desired.job_id(), desired.attempt()},
                               WorkFolder(directory, KeyOf(desired)),
                               [&] { return cancelled() || link.stopped(); });
       },
       [&data](const DataCache::AttemptKey& attempt) { data.Release(attempt); }},
      [&connection_reference] {
        if (connection_reference != nullptr) connection_reference->Changed();
      });
  supervisor_reference = &supervisor;
  supervisor.EndLeftovers();
  // What calls the supervisor ends before it.
  const auto end_callers = [&link, &spool, &server] {
    link.Stop();
    spool.Stop();
    server.reset();
  };
  const AgentHttpOptions http_options{options.http_listen, options.files,     options.number,
                                      options.slots,       identity.worker(), options.version};
  const auto http = AgentHttp::Start(http_options, supervisor, spool, link);
  if (!http.ok()) {
    end_callers();
    return http.status();
  }

  ConnectionOptions connection_options;
  connection_options.identity = identity;
  connection_options.report_interval = options.report_interval;
  Connection connection(
      std::move(connection_options), link,
      {[&supervisor] { return supervisor.Latest(); },
       [&supervisor](std::uint64_t version) { supervisor.Reported(version); },
       [&supervisor](v1::DesiredState state) { supervisor.Obey(std::move(state)); },
       [&spool] { spool.SinkChanged(); }});
  connection_reference = &connection;
  Log(identity.worker() + " is up: " + std::to_string(options.slots) + " slots of " +
      std::to_string(identity.cores_per_slot()) + " cores and " +
      std::to_string(identity.memory_mib_per_slot()) + " MiB, numerics class " +
      identity.numerics_class());
  supervisor.Run(stop);
  Log("ends: it was asked to");
  end_callers();
  return {};
}

}  // namespace muster::agent
