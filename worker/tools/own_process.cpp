#include "worker/tools/own_process.h"

#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "wire/token.h"
#include "worker/tools/run_program.h"

namespace muster::tools {

Result<std::unique_ptr<OwnProcess>> OwnProcess::Start(const std::vector<std::string>& arguments) {
  std::vector<std::string> owned = {"muster"};
  owned.insert(owned.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : owned) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return FromErrno("fork");
  if (pid == 0) {
    const int quiet = ::open("/dev/null", O_WRONLY);
    ::dup2(quiet, STDOUT_FILENO);
    ::dup2(quiet, STDERR_FILENO);
    ::execv("/proc/self/exe", argv.data());
    ::_exit(127);
  }
  return std::unique_ptr<OwnProcess>(new OwnProcess(pid));
}

OwnProcess::~OwnProcess() { End(SIGTERM); }

void OwnProcess::End(int signal) {
  if (pid_ == 0) return;
  ::kill(pid_, signal);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

Result<std::unique_ptr<CoordinatorProcess>> CoordinatorProcess::Start(bool tls) {
  std::string folder = std::filesystem::temp_directory_path() / "muster-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return FromErrno("mkdtemp " + folder);
  std::unique_ptr<CoordinatorProcess> coordinator(new CoordinatorProcess());
  wire::ClusterFiles& files = coordinator->files_ = wire::FilesOf(folder);
  if (tls) {
    MUSTER_RETURN_IF_ERROR(RunMuster({"tls", "init", "--json", "--state", folder}).status());
  }
  MUSTER_ASSIGN_OR_RETURN(
      coordinator->process_,
      OwnProcess::Start({"coordinator", "--state", folder, "--listen",
                         tls ? "0.0.0.0:0" : "127.0.0.1:0", "--http-port", "0"}));
  for (int i = 0; i < 500 && !std::filesystem::exists(files.address()); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  MUSTER_ASSIGN_OR_RETURN(const wire::Endpoint endpoint, wire::ReadEndpoint(files.address()));
  coordinator->address_ = endpoint.address;
  return coordinator;
}

CoordinatorProcess::~CoordinatorProcess() {
  process_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(files_.state, ignored);
}

std::shared_ptr<grpc::Channel> CoordinatorProcess::Connect() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // A connection each.
  auto channel = grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
  // gRPC 1.51 looks at errno too late after connect(2), and so gives up one attempt in thousands.
  channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10));
  return channel;
}

Result<std::string> CoordinatorProcess::UserToken() const {
  return wire::ReadToken(files_.user_token());
}

Result<std::string> CoordinatorProcess::WorkerToken() const {
  return wire::ReadToken(files_.worker_token());
}

double CoordinatorProcess::ResidentMb() const {
  std::ifstream status("/proc/" + std::to_string(process_->pid()) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::strtod(line.c_str() + 6, nullptr) / 1e3 * 1.024;
  }
  return 0;
}

}  // namespace muster::tools
