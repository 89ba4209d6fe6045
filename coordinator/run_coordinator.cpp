#include "coordinator/run_coordinator.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/file.h"
#include "base/sha256.h"
#include "coordinator/coordinator.h"
#include "coordinator/http/http_server.h"
#include "coordinator/service/agent_service.h"
#include "coordinator/service/content_service.h"
#include "coordinator/service/job_service.h"
#include "wire/address.h"
#include "wire/cluster_files.h"
#include "wire/token.h"

namespace muster::coordinator {
namespace {

Result<wire::Address> ParseListen(const std::string& text) {
  MUSTER_ASSIGN_OR_RETURN(wire::Address address, wire::ParseAddress(text, 0));
  if (wire::IsLoopback(address.host)) return address;
  return InvalidArgument("address " + text +
                         ": beyond this machine TLS is needed, which this version does not "
                         "have; use 127.0.0.1");
}

// The port in an address file of an earlier run, so that agents and followers find it again.
std::uint16_t EarlierPort(const std::string& path) {
  const Result<std::string> text = ReadFile(path, 256);
  if (!text.ok()) return 0;
  const Result<wire::Address> address = wire::ParseAddress(text->substr(0, text->find('\n')));
  return address.ok() ? address->port : 0;
}

std::string UserName() {
  const passwd* user = ::getpwuid(::getuid());
  return user == nullptr ? std::to_string(::getuid()) : user->pw_name;
}

Result<std::vector<Principal>> Principals(const wire::ClusterFiles& files) {
  MUSTER_ASSIGN_OR_RETURN(const std::string user, wire::ReadOrCreateToken(files.user_token()));
  MUSTER_ASSIGN_OR_RETURN(const std::string worker, wire::ReadOrCreateToken(files.worker_token()));
  return std::vector<Principal>{{Sha256Of(user), UserName(), Role::kUser},
                                {Sha256Of(worker), "worker", Role::kWorker}};
}

struct Services {
  grpc::Service& jobs;
  grpc::Service& agents;
  grpc::Service& content;
};

// Null when the port is taken.
std::unique_ptr<grpc::Server> Listen(const std::string& host, std::uint16_t port,
                                     const Services& services, int& bound_port) {
  grpc::ServerBuilder builder;
  constexpr int kMessageBytesMax = 4 << 20;
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Uploads come in messages of 1 MiB: one frame each, not 64.
  constexpr int kFrameBytesMax = 2 << 20;
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kFrameBytesMax);
  builder.AddListeningPort(wire::Address{host, port}.Text(), grpc::InsecureServerCredentials(),
                           &bound_port);
  builder.RegisterService(&services.jobs);
  builder.RegisterService(&services.agents);
  builder.RegisterService(&services.content);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  return bound_port == 0 ? nullptr : std::move(server);
}

Result<std::unique_ptr<HttpServer>> ListenHttp(const std::string& host, int port, int earlier,
                                               Coordinator& coordinator) {
  const auto healthy = [&coordinator] { return coordinator.Healthy(); };
  if (port == 0 && earlier != 0) {
    auto again = HttpServer::Start(host, earlier, coordinator.metrics(), healthy);
    if (again.ok()) return again;
  }
  return HttpServer::Start(host, port, coordinator.metrics(), healthy);
}

}  // namespace

Status RunCoordinator(const RunOptions& options) {
  const wire::ClusterFiles files{options.state};
  MUSTER_ASSIGN_OR_RETURN(const wire::Address wanted, ParseListen(options.address));
  MUSTER_RETURN_IF_ERROR(MakeDirectories(files.state, 0700));
  Result<LockFile> lock = LockFile::Acquire(files.coordinator_lock());
  if (!lock.ok()) return lock.status().During("another coordinator runs on this state directory");
  // Before any thread exists, so that all of them leave the signals to sigwait below.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  MUSTER_ASSIGN_OR_RETURN(std::vector<Principal> principals, Principals(files));
  const Access access(std::move(principals));
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<Coordinator> coordinator,
                          Coordinator::Open({.directory = files.coordinator(),
                                             .worker_timeout_ms = options.worker_timeout_ms,
                                             .store_bytes_max = options.store_bytes_max}));
  MUSTER_ASSIGN_OR_RETURN(
      std::unique_ptr<HttpServer> http,
      ListenHttp(wanted.host, options.http_port, EarlierPort(files.http_address()), *coordinator));
  const std::string http_address =
      wire::Address{wanted.host, static_cast<std::uint16_t>(http->port())}.Text();
  EventLoop readers;
  readers.Start(std::chrono::milliseconds(1'000), [] {});
  JobService jobs(*coordinator, access, readers, http_address);
  AgentService agents(*coordinator, access, readers);
  EventLoop data_readers;
  data_readers.Start(std::chrono::milliseconds(1'000), [] {});
  ContentService content(*coordinator, access, data_readers);
  coordinator->Start();

  int port = 0;
  std::unique_ptr<grpc::Server> server;
  if (wanted.port == 0) {
    const std::uint16_t earlier = EarlierPort(files.address());
    if (earlier != 0) server = Listen(wanted.host, earlier, {jobs, agents, content}, port);
  }
  if (server == nullptr) server = Listen(wanted.host, wanted.port, {jobs, agents, content}, port);
  if (server == nullptr) {
    return Unavailable("cannot listen on " + options.address + "; is another coordinator there?");
  }
  const std::string address = wire::Address{wanted.host, static_cast<std::uint16_t>(port)}.Text();
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.http_address(), http_address + "\n"));
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.address(), address + "\n"));
  std::fprintf(stderr, "coordinator: gRPC on %s, HTTP on %s, state in %s\n", address.c_str(),
               http_address.c_str(), files.state.c_str());
  int signal = 0;
  ::sigwait(&signals, &signal);
  std::fprintf(stderr, "coordinator: stopping on signal %d\n", signal);
  coordinator->AnswerWaiting();
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
  readers.Stop();
  data_readers.Stop();
  coordinator->Stop();
  return {};
}

}  // namespace muster::coordinator
