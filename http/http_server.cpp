#include "http/http_server.h"

#include <httplib.h>

namespace muster {

HttpServer::HttpServer(std::unique_ptr<httplib::Server> server) : server_(std::move(server)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& host, int port,
                                                      const HttpTls& tls, HttpPages pages) {
  std::unique_ptr<httplib::Server> plain_or_tls;
  if (tls.certificate_file.empty()) {
    plain_or_tls = std::make_unique<httplib::Server>();
  } else {
    plain_or_tls =
        std::make_unique<httplib::SSLServer>(tls.certificate_file.c_str(), tls.key_file.c_str());
  }
  if (!plain_or_tls->is_valid()) {
    return InvalidArgument("HTTP: " + tls.certificate_file + " or its key cannot be used");
  }
  std::unique_ptr<HttpServer> http(new HttpServer(std::move(plain_or_tls)));
  httplib::Server& server = *http->server_;
  // A connection holds a thread for as long as it says nothing; few who do must not keep others
  // out.
  server.new_task_queue = [] { return new httplib::ThreadPool(128); };
  server.set_read_timeout(std::chrono::seconds(2));
  server.set_write_timeout(std::chrono::seconds(5));
  server.set_keep_alive_timeout(1);
  // The default shares the port with whoever else does.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server.set_payload_max_length(64U << 10U);
  server.set_keep_alive_max_count(100);
  server.Get("/healthz", [healthy = std::move(pages.healthy)](const httplib::Request&,
                                                              httplib::Response& response) {
    const bool ok = healthy();
    response.status = ok ? 200 : 503;
    response.set_content(ok ? "ok\n" : "the event loop does not answer\n", "text/plain");
  });
  server.Get("/metrics", [metrics = std::move(pages.metrics)](const httplib::Request&,
                                                              httplib::Response& response) {
    response.set_content(metrics(), "text/plain; version=0.0.4");
  });
  const bool bound = port == 0 ? (http->port_ = server.bind_to_any_port(host.c_str())) > 0
                               : server.bind_to_port(host.c_str(), port);
  if (!bound) {
    return Unavailable("HTTP: cannot listen on " + host + ":" + std::to_string(port) +
                       "; is another process listening there?");
  }
  if (port != 0) http->port_ = port;
  http->thread_ = std::thread([raw = http.get()] { raw->server_->listen_after_bind(); });
  // stop() has no effect on a server that does not listen yet.
  while (!server.is_running()) std::this_thread::yield();
  return http;
}

HttpServer::~HttpServer() {
  server_->stop();
  if (thread_.joinable()) thread_.join();
}

}  // namespace muster
