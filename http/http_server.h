// HTTP beside gRPC: /healthz and /metrics, open to everybody and with aggregates only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/status.h"

namespace httplib {
class Server;
}

namespace muster {

// Files of the server's certificate and key, in PEM; empty = plain text.
struct HttpTls {
  std::string certificate_file, key_file;
};

// What is asked at every request, on threads of the server's.
struct HttpPages {
  std::function<bool()> healthy;         // /healthz answers 200 or 503.
  std::function<std::string()> metrics;  // /metrics, in the text exposition format 0.0.4.
};

class HttpServer {
 public:
  // Serves on `host`:`port` (0 = any free port) until it is destroyed; what `pages` use lives
  // longer. kInvalidArgument for files that cannot be used, kUnavailable when the port is taken.
  static Result<std::unique_ptr<HttpServer>> Start(const std::string& host, int port,
                                                   const HttpTls& tls, HttpPages pages);
  ~HttpServer();
  int port() const { return port_; }

 private:
  explicit HttpServer(std::unique_ptr<httplib::Server> server);
  std::unique_ptr<httplib::Server> server_;
  std::thread thread_;
  int port_ = 0;
};

}  // namespace muster
