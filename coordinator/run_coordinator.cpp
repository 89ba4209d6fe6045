#include "coordinator/run_coordinator.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <malloc.h>
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/file.h"
#include "base/sha256.h"
#include "coordinator/coordinator.h"
#include "coordinator/service/agent_service.h"
#include "coordinator/service/caps.h"
#include "coordinator/service/content_service.h"
#include "coordinator/service/job_service.h"
#include "coordinator/service/join_service.h"
#include "coordinator/service/people_service.h"
#include "http/http_server.h"
#include "wire/address.h"
#include "wire/cluster_files.h"
#include "wire/token.h"

namespace muster::coordinator {
namespace {

// What a listener beyond loopback shows and trusts.
struct Tls {
  std::string authority, certificate, key;  // PEM; empty = plain text.
};

Result<Tls> LoadTls(const std::string& host, const wire::ClusterFiles& files) {
  Tls tls;
  if (wire::IsLoopback(host)) return tls;
  constexpr std::size_t kPemBytesMax = 1U << 20U;
  for (const auto& [text, path] : {std::pair{&tls.authority, files.authority()},
                                   {&tls.certificate, files.coordinator_certificate()},
                                   {&tls.key, files.coordinator_key()}}) {
    Result<std::string> read = ReadFile(path, kPemBytesMax);
    if (!read.ok()) {
      return FailedPrecondition("to listen on " + host + ", beyond this machine, TLS is needed (" +
                                read.status().message() +
                                "): run `muster tls init --host NAME` on this state directory");
    }
    *text = std::move(*read);
  }
  return tls;
}

std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const Tls& tls) {
  if (tls.certificate.empty()) return grpc::InsecureServerCredentials();
  // Workers show a certificate of the authority; people show none, but a token.
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = tls.authority;
  options.pem_key_cert_pairs.push_back({tls.key, tls.certificate});
  return grpc::SslServerCredentials(options);
}

// The port in an address file of an earlier run, so that agents and followers find it again.
std::uint16_t EarlierPort(const std::string& path) {
  const Result<wire::Endpoint> endpoint = wire::ReadEndpoint(path);
  if (!endpoint.ok()) return 0;
  const Result<wire::Address> address = wire::ParseAddress(endpoint->address);
  return address.ok() ? address->port : 0;
}

std::string UserName() {
  const passwd* user = ::getpwuid(::getuid());
  return user == nullptr ? std::to_string(::getuid()) : user->pw_name;
}

Result<std::vector<Principal>> Principals(const wire::ClusterFiles& files) {
  MUSTER_ASSIGN_OR_RETURN(const std::string user, wire::ReadOrCreateToken(files.user_token()));
  MUSTER_ASSIGN_OR_RETURN(const std::string worker, wire::ReadOrCreateToken(files.worker_token()));
  return std::vector<Principal>{{Sha256Of(user), UserName(), Role::kAdmin},
                                {Sha256Of(worker), "worker", Role::kWorker}};
}

struct Services {
  grpc::Service& jobs;
  grpc::Service& agents;
  grpc::Service& joins;
  grpc::Service& people;
  grpc::Service& content;
  std::shared_ptr<grpc::ServerCredentials> credentials;
};

// Null when the port is taken.
std::unique_ptr<grpc::Server> Listen(const std::string& host, std::uint16_t port,
                                     const Services& services, int& bound_port) {
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Uploads come in messages of 1 MiB: one frame each, not 64.
  constexpr int kFrameBytesMax = 2 << 20;
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kFrameBytesMax);
  builder.AddListeningPort(wire::Address{host, port}.Text(), services.credentials, &bound_port);
  builder.RegisterService(&services.jobs);
  builder.RegisterService(&services.agents);
  builder.RegisterService(&services.joins);
  builder.RegisterService(&services.people);
  builder.RegisterService(&services.content);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  return bound_port == 0 ? nullptr : std::move(server);
}

Result<std::unique_ptr<HttpServer>> ListenHttp(const std::string& host, int port, int earlier,
                                               const HttpTls& tls, Coordinator& coordinator) {
  const HttpPages pages{[&coordinator] { return coordinator.Healthy(); },
                        [&coordinator] { return coordinator.metrics().Text(); }};
  if (port == 0 && earlier != 0) {
    auto again = HttpServer::Start(host, earlier, tls, pages);
    if (again.ok()) return again;
  }
  return HttpServer::Start(host, port, tls, pages);
}

}  // namespace

// Each follower and each upload holds descriptors; the soft limit is often 1,024.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
}

// Uploads come in messages of a mebibyte. Left to itself the allocator gives each one's pages back
// to the kernel, which clears them for the next: two thirds of an upload's time on the processor.
void KeepFreedMemory() {
  ::mallopt(M_ARENA_MAX, 1);  // What one thread frees serves the others.
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

Status RunCoordinator(const RunOptions& options) {
  RaiseDescriptorLimit();
  KeepFreedMemory();
  const wire::ClusterFiles files{options.state};
  MUSTER_ASSIGN_OR_RETURN(const wire::Address wanted, wire::ParseAddress(options.address, 0));
  MUSTER_RETURN_IF_ERROR(MakeDirectories(files.state, 0700));
  MUSTER_ASSIGN_OR_RETURN(const Tls tls, LoadTls(wanted.host, files));
  const bool secure = !tls.certificate.empty();
  HttpTls http_tls;
  if (secure) http_tls = {files.coordinator_certificate(), files.coordinator_key()};
  Result<LockFile> lock = LockFile::Acquire(files.coordinator_lock());
  if (!lock.ok()) {
    return lock.status().code() == StatusCode::kAlreadyExists
               ? lock.status().During("another coordinator runs on this state directory")
               : lock.status();
  }
  static_cast<void>(::unlink(files.stopped().c_str()));
  // Before any thread exists, so that all of them leave the signals to sigwait below.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  MUSTER_ASSIGN_OR_RETURN(std::vector<Principal> principals, Principals(files));
  MUSTER_RETURN_IF_ERROR(MakeDirectories(files.coordinator(), 0700));
  MUSTER_ASSIGN_OR_RETURN(std::shared_ptr<AuditLog> audit,
                          AuditLog::Open(files.coordinator() + "/audit.jsonl"));
  CoordinatorOptions settings;
  settings.directory = files.coordinator();
  settings.worker_timeout_ms = options.worker_timeout_ms;
  settings.store_bytes_max = options.store_bytes_max;
  settings.certificates = std::make_shared<WorkerCertificates>();
  settings.people = std::make_shared<People>();
  for (const Principal& principal : principals) {
    settings.reserved_names.push_back(principal.name);
  }
  if (secure) {
    settings.authority.certificate = tls.authority;
    MUSTER_ASSIGN_OR_RETURN(settings.authority.key, ReadFile(files.authority_key()));
  }
  AccessOptions admission;
  admission.principals = std::move(principals);
  admission.people = settings.people;
  admission.certificates = settings.certificates;
  admission.audit = std::move(audit);
  const Access access(std::move(admission));
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<Coordinator> coordinator,
                          Coordinator::Open(std::move(settings)));
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<HttpServer> http,
                          ListenHttp(wanted.host, options.http_port,
                                     EarlierPort(files.http_address()), http_tls, *coordinator));
  const std::string http_address =
      wire::Address{wire::LocalHost(wanted.host), static_cast<std::uint16_t>(http->port())}.Text();
  EventLoop readers;
  readers.Start(std::chrono::milliseconds(1'000), [&access] { access.EndStaleStreams(); });
  JobService jobs(*coordinator, access, readers, http_address);
  AgentService agents(*coordinator, access, readers);
  JoinService joins(*coordinator, access);
  PeopleService accounts(*coordinator, access);
  EventLoop data_readers;
  data_readers.Start(std::chrono::milliseconds(1'000), [] {});
  ContentService content(*coordinator, access, data_readers);
  coordinator->Start();

  const Services services{jobs, agents, joins, accounts, content, CredentialsOf(tls)};
  int port = 0;
  std::unique_ptr<grpc::Server> server;
  if (wanted.port == 0) {
    const std::uint16_t earlier = EarlierPort(files.address());
    if (earlier != 0) server = Listen(wanted.host, earlier, services, port);
  }
  if (server == nullptr) server = Listen(wanted.host, wanted.port, services, port);
  if (server == nullptr) {
    return Unavailable("cannot listen on " + options.address + "; is another coordinator there?");
  }
  const std::string address =
      wire::Address{wire::LocalHost(wanted.host), static_cast<std::uint16_t>(port)}.Text();
  MUSTER_RETURN_IF_ERROR(wire::WriteEndpoint(files.http_address(), {http_address, secure}));
  MUSTER_RETURN_IF_ERROR(wire::WriteEndpoint(files.address(), {address, secure}));
  const std::string heard = wire::Address{wanted.host, static_cast<std::uint16_t>(port)}.Text();
  const std::string everywhere = heard == address ? "" : " (for others " + heard + ")";
  std::fprintf(stderr, "coordinator: gRPC on %s%s, HTTP on %s, %s, state in %s\n", address.c_str(),
               everywhere.c_str(), http_address.c_str(), secure ? "with TLS" : "this machine only",
               files.state.c_str());
  int signal = 0;
  ::sigwait(&signals, &signal);
  std::fprintf(stderr, "coordinator: stopping on signal %d\n", signal);
  // Followers need not wait for its return.
  static_cast<void>(WriteFileAtomically(files.stopped(), ".").ok());
  coordinator->AnswerWaiting();
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
  readers.Stop();
  data_readers.Stop();
  coordinator->Stop();
  return {};
}

}  // namespace muster::coordinator
