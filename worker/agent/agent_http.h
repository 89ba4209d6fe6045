// The agent's /healthz and /metrics.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "http/http_server.h"
#include "wire/cluster_files.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/spool_forwarder.h"
#include "worker/agent/supervisor.h"
#include "worker/agent/worker_metrics.h"

namespace muster::agent {

struct AgentHttpOptions {
  std::string listen;  // "HOST:PORT", port 0 = any free one; empty = no HTTP.
  wire::ClusterFiles files;
  unsigned number = 0;
  std::uint32_t slots = 1;
  std::string worker, version;
};

class AgentHttp {
 public:
  // Serves until it is destroyed, before what it is given. Healthy while the supervision turns; a
  // silent coordinator is no fault of the agent. Beyond loopback with the certificate the worker
  // joined with; kFailedPrecondition when it has none. Writes the address to
  // files.worker_http_address(number).
  static Result<std::unique_ptr<AgentHttp>> Start(const AgentHttpOptions& options,
                                                  const Supervisor& supervisor,
                                                  const SpoolForwarder& spool,
                                                  const CoordinatorLink& link);

 private:
  explicit AgentHttp(const AgentHttpOptions& options) : metrics_(options.worker, options.version) {}
  WorkerMetrics metrics_;
  std::unique_ptr<HttpServer> server_;  // Last: it uses the above.
};

}  // namespace muster::agent
