// `muster join-token` and `muster worker join`: other machines become workers of the cluster.
#include "cli/join.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <iostream>
#include <memory>

#include "base/file.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "muster/v1/join.grpc.pb.h"
#include "wire/address.h"
#include "wire/client_call.h"
#include "wire/cluster_files.h"
#include "wire/json.h"
#include "wire/tls.h"
#include "wire/token.h"

namespace muster::cli {
namespace {

constexpr std::chrono::milliseconds kCallDeadline{20'000};

struct TokenArgs {
  ClusterOptions cluster;
  unsigned hours = 24;
  bool json = false;
};

int MakeToken(const TokenArgs& args) {
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  const Result<v1::NewJoinTokenResponse> made = (*session)->NewJoinToken(args.hours);
  if (!made.ok()) return Report(made.status());
  if (args.json) {
    std::cout << "{\"token\":" << wire::JsonText(made->token())
              << ",\"authority\":" << wire::JsonText(made->authority())
              << ",\"expires_ms\":" << made->expires_ms() << "}" << std::endl;
    return kExitOk;
  }
  std::cout << made->token() << "\n" << made->authority() << std::flush;
  std::cerr << "one worker may join with this within " << args.hours
            << " hours; keep it in a file of mode 600" << std::endl;
  return kExitOk;
}

struct JoinToken {
  std::string token;
  std::string authority;
};

// What `muster join-token` prints.
Result<JoinToken> ReadJoinToken(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(const std::string text, wire::ReadToken(path));
  const std::size_t end = text.find('\n');
  JoinToken token{text.substr(0, end), end == std::string::npos ? "" : text.substr(end + 1)};
  const Result<std::string> sha256 = wire::CertificateSha256(token.authority);
  if (token.token.size() == 64 && sha256.ok()) return token;
  return InvalidArgument(path + " is no join token: it is what `muster join-token` prints, whole");
}

Result<std::string> OwnHostName() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return FromErrno("gethostname");
  return std::string(name.data());
}

}  // namespace

Status JoinCluster(const JoinArgs& args) {
  MUSTER_ASSIGN_OR_RETURN(const wire::Address address, wire::ParseAddress(args.coordinator));
  MUSTER_ASSIGN_OR_RETURN(const JoinToken token, ReadJoinToken(args.token_file));
  MUSTER_ASSIGN_OR_RETURN(const std::string host, OwnHostName());
  const std::string name = host + "-" + std::to_string(args.number);
  const wire::WorkerFiles files = wire::FilesOf(args.state).joined(args.number);
  MUSTER_RETURN_IF_ERROR(MakeDirectories(files.directory, 0700));

  // The key and its request are kept until there is an answer: asked again, the coordinator gives
  // it again.
  wire::SigningRequest request;
  const Result<std::string> kept = ReadFile(files.request());
  if (kept.ok()) {
    request.request = *kept;
  } else {
    MUSTER_ASSIGN_OR_RETURN(request, wire::MakeSigningRequest(name));
    MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.next_key(), request.key, 0600));
    MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.request(), request.request, 0600));
  }
  v1::JoinRequest message;
  message.set_token(token.token);
  message.set_worker(name);
  message.set_signing_request(request.request);
  message.set_version(kVersion);
  v1::JoinResponse response;
  const auto stub =
      v1::JoinService::NewStub(wire::Connect(address.Text(), {token.authority, "", ""}));
  Status joined = wire::Call(*stub, &v1::JoinService::Stub::Join, std::string(), message, response,
                             kCallDeadline);
  if (!joined.ok()) return std::move(joined).During("join " + address.Text());

  MUSTER_ASSIGN_OR_RETURN(const std::string key, ReadFile(files.next_key()));
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.authority(), token.authority, 0644));
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.key(), key, 0600));
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.name(), name + "\n"));
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.coordinator(), address.Text() + "\n"));
  // Last: with it this worker has joined.
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(files.certificate(), response.certificate(), 0644));
  static_cast<void>(::unlink(files.request().c_str()));
  static_cast<void>(::unlink(files.next_key().c_str()));
  if (args.json) {
    std::cout << "{\"worker\":" << wire::JsonText(name)
              << ",\"cluster_id\":" << wire::JsonText(response.cluster_id()) << "}" << std::endl;
  } else {
    std::cerr << name << " has joined cluster " << response.cluster_id()
              << "; start it with: muster worker --number " << args.number << std::endl;
  }
  return {};
}

void AddJoinToken(CommandLine& line) {
  const auto args = std::make_shared<TokenArgs>();
  Command command = line.Add("join-token", "Make a token that one worker may join with");
  command.Value("--hours", args->hours, "Until it expires, 1 to 720")
      .Flag("--json", args->json, "Print token, authority, expires_ms as one object")
      .Example("muster join-token > join.token && chmod 600 join.token")
      .Runs([args] { return MakeToken(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
