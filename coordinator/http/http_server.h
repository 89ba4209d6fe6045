// HTTP beside gRPC: /healthz and /metrics, open and with aggregates only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/status.h"
#include "coordinator/http/metrics.h"

namespace httplib {
class Server;
}

namespace muster::coordinator {

class HttpServer {
 public:
  // Serves on `host`:`port` (0 = any free port) from threads of its own. `healthy` is asked from
  // them. `metrics` must outlive the server.
  static Result<std::unique_ptr<HttpServer>> Start(const std::string& host, int port,
                                                   const Metrics& metrics,
                                                   std::function<bool()> healthy);
  ~HttpServer();
  int port() const { return port_; }

 private:
  HttpServer();
  std::unique_ptr<httplib::Server> server_;
  std::thread thread_;
  int port_ = 0;
};

}  // namespace muster::coordinator
