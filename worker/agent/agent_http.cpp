#include "worker/agent/agent_http.h"

#include <unistd.h>

#include <utility>

#include "wire/address.h"
#include "worker/agent/log.h"

namespace muster::agent {
namespace {

constexpr std::chrono::seconds kHungAfter(10);

WorkerReading Read(std::uint32_t slots, const Supervisor& supervisor, const SpoolForwarder& spool,
                   const CoordinatorLink& link) {
  WorkerReading reading;
  reading.slots = slots;
  for (const v1::RankReport& rank : supervisor.Latest().ranks) {
    if (!rank.released()) ++reading.slots_used;
    if (rank.phase() == v1::RANK_PHASE_EXITED) {
      ++reading.ranks_exited;
    } else if (rank.phase() == v1::RANK_PHASE_RUNNING) {
      ++reading.ranks_running;
    } else {
      ++reading.ranks_starting;
    }
  }
  reading.usage = MeasureRanks();
  reading.coordinator_silence_seconds = std::chrono::duration<double>(link.SinceAnswered()).count();
  reading.spool_bytes = spool.WaitingBytes();
  return reading;
}

Result<HttpTls> TlsFor(const std::string& host, const wire::WorkerFiles& joined) {
  if (wire::IsLoopback(host)) return HttpTls();
  if (::access(joined.certificate().c_str(), R_OK) != 0) {
    return FailedPrecondition("to serve HTTP on " + host +
                              ", beyond this machine, TLS is needed: let this worker join its "
                              "coordinator (`muster worker join`), or listen on 127.0.0.1");
  }
  return HttpTls{joined.certificate(), joined.key()};
}

}  // namespace

Result<std::unique_ptr<AgentHttp>> AgentHttp::Start(const AgentHttpOptions& options,
                                                    const Supervisor& supervisor,
                                                    const SpoolForwarder& spool,
                                                    const CoordinatorLink& link) {
  const std::string address_file = options.files.worker_http_address(options.number);
  static_cast<void>(::unlink(address_file.c_str()));
  if (options.listen.empty()) return std::unique_ptr<AgentHttp>();
  MUSTER_ASSIGN_OR_RETURN(wire::Address address, wire::ParseAddress(options.listen, 0));
  MUSTER_ASSIGN_OR_RETURN(const HttpTls tls,
                          TlsFor(address.host, options.files.joined(options.number)));
  std::unique_ptr<AgentHttp> http(new AgentHttp(options));
  HttpPages pages;
  pages.healthy = [&supervisor] { return supervisor.SinceTurn() < kHungAfter; };
  pages.metrics = [&metrics = http->metrics_, &supervisor, &spool, &link, slots = options.slots] {
    return metrics.Text(Read(slots, supervisor, spool, link));
  };
  MUSTER_ASSIGN_OR_RETURN(http->server_,
                          HttpServer::Start(address.host, address.port, tls, std::move(pages)));
  address.host = wire::LocalHost(address.host);
  address.port = static_cast<std::uint16_t>(http->server_->port());
  const bool secure = !tls.certificate_file.empty();
  MUSTER_RETURN_IF_ERROR(wire::WriteEndpoint(address_file, {address.Text(), secure}));
  Log("HTTP on " + address.Text() + (secure ? ", with TLS" : ", this machine only"));
  return http;
}

}  // namespace muster::agent
