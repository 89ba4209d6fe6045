// `muster tls init`: the certificates of a cluster that is reached from other machines.
#include "wire/tls.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "wire/address.h"
#include "wire/cluster_files.h"
#include "wire/json.h"

namespace muster::cli {
namespace {

constexpr int kAuthorityDays = 3650;
constexpr int kServerDays = 397;

struct TlsArgs {
  std::string action;
  std::string state;
  std::vector<std::string> hosts;
  bool json = false;
};

// This machine's name and its addresses other than loopback and link-local ones.
std::vector<std::string> OwnHosts() {
  std::vector<std::string> hosts;
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0') {
    hosts.emplace_back(name.data());
  }
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return hosts;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(entry->ifa_addr, size, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) != 0) {
      continue;
    }
    const std::string address = text.data();
    if (address.rfind("fe80", 0) != 0 && !wire::IsLoopback(address)) hosts.push_back(address);
  }
  ::freeifaddrs(list);
  return hosts;
}

// The authority of the state directory; makes one where there is none.
Result<wire::KeyPair> ReadOrMakeAuthority(const wire::ClusterFiles& files, bool& made) {
  wire::KeyPair authority;
  const Result<std::string> certificate = ReadFile(files.authority());
  made = !certificate.ok() && certificate.status().code() == StatusCode::kNotFound;
  if (!made) {
    MUSTER_RETURN_IF_ERROR(certificate.status());
    authority.certificate = *certificate;
    MUSTER_ASSIGN_OR_RETURN(authority.key, ReadFile(files.authority_key()));
    return authority;
  }
  MUSTER_ASSIGN_OR_RETURN(authority,
                          wire::MakeAuthority("muster cluster authority", kAuthorityDays));
  // The certificate last: with it there is an authority.
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.authority_key(), authority.key, 0600));
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.authority(), authority.certificate, 0644));
  return authority;
}

Status Init(const TlsArgs& args) {
  const wire::ClusterFiles files = wire::FilesOf(args.state);
  MUSTER_RETURN_IF_ERROR(MakeDirectories(files.state, 0700));
  MUSTER_RETURN_IF_ERROR(MakeDirectories(files.tls(), 0700));
  bool made = false;
  MUSTER_ASSIGN_OR_RETURN(const wire::KeyPair authority, ReadOrMakeAuthority(files, made));
  std::vector<std::string> hosts = args.hosts.empty() ? OwnHosts() : args.hosts;
  // For the processes of its own machine.
  for (const char* own : {"localhost", "127.0.0.1", "::1"}) {
    if (std::find(hosts.begin(), hosts.end(), own) == hosts.end()) hosts.emplace_back(own);
  }
  MUSTER_ASSIGN_OR_RETURN(const wire::KeyPair server,
                          wire::MakeServerCertificate(authority, hosts, kServerDays));
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.coordinator_key(), server.key, 0600));
  MUSTER_RETURN_IF_ERROR(
      WriteFileAtomically(files.coordinator_certificate(), server.certificate, 0644));
  MUSTER_ASSIGN_OR_RETURN(const std::string digest, wire::CertificateSha256(authority.certificate));
  std::string names;
  for (const std::string& host : hosts) names += " " + host;
  if (args.json) {
    std::cout << "{\"authority\":" << wire::JsonText(files.authority()) << ",\"sha256\":\""
              << digest << "\",\"made\":" << (made ? "true" : "false") << "}" << std::endl;
    return {};
  }
  std::cerr << (made ? "made the authority " : "kept the authority ") << files.authority()
            << "\n  sha256 " << digest << "\nmade a certificate of the coordinator for" << names
            << "\nStart the coordinator again: muster coordinator --listen 0.0.0.0:7420\n"
            << "Give people the authority's file, as --ca or MUSTER_CA_FILE." << std::endl;
  return {};
}

}  // namespace

void AddTls(CommandLine& line) {
  const auto args = std::make_shared<TlsArgs>();
  Command command = line.Add("tls", "Make the certificates of a cluster of several machines");
  command
      .Value("ACTION", args->action,
             "init: make an authority, unless there is one, and the coordinator's certificate")
      .Required();
  command
      .Values("--host", args->hosts,
              "Name or address that the coordinator is reached by; otherwise all of this machine")
      .Value("--state", args->state, "State directory of the coordinator (or MUSTER_STATE)")
      .Flag("--json", args->json, "Print authority, sha256, made as one object")
      .Example("muster tls init --host node-1.example.org --host 10.0.0.7")
      .Runs([args] {
        if (args->action != "init") {
          return Report(InvalidArgument("tls: no action '" + args->action + "'; there is init"));
        }
        return Report(Init(*args));
      });
}

}  // namespace muster::cli
