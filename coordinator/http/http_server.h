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

// Files of the server's certificate and key, in PEM; empty = plain text.
struct HttpTls {
  std::string certificate_file, key_file;
};

class HttpServer {
 public:
  // Serves on `host`:`port` (0 = any free port) from threads of its own. `healthy` is asked from
  // them. `metrics` must outlive the server.
  static Result<std::unique_ptr<HttpServer>> Start(const std::string& host, int port,
                                                   const HttpTls& tls, const Metrics& metrics,
                                                   std::function<bool()> healthy);
  ~HttpServer();
  int port() const { return port_; }

 private:
  explicit HttpServer(std::unique_ptr<httplib::Server> server);
  std::unique_ptr<httplib::Server> server_;
  std::thread thread_;
  int port_ = 0;
};

}  // namespace muster::coordinator
