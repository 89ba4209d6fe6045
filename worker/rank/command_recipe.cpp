#include "worker/rank/command_recipe.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "base/file.h"
#include "wire/command_rules.h"
#include "worker/rank/command_checkpoint.h"
#include "worker/rank/command_environment.h"
#include "worker/rank/program.h"
#include "worker/rank/reserved_port.h"

namespace muster::rank {
namespace {

constexpr std::chrono::milliseconds kPoll(100);
constexpr std::chrono::minutes kMeetMax(10);  // Another worker may still fetch a checkpoint.
constexpr const char* kMasterKey = "command/master";

std::atomic<int> termination_event = -1;

void OnTerminate(int) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t wrote = ::write(termination_event, &one, sizeof(one));
}

// A readable descriptor once SIGTERM has come.
Result<FileDescriptor> CatchTermination() {
  FileDescriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return FromErrno("eventfd");
  termination_event = event.get();
  struct sigaction action {};
  action.sa_handler = OnTerminate;
  action.sa_flags = SA_RESTART;
  if (::sigaction(SIGTERM, &action, nullptr) != 0) return FromErrno("sigaction");
  return event;
}

// Where all ranks meet: rank 0 chooses and tells the others.
Result<Master> Meet(const v1::RankAssignment& assignment, AgentClient& agent,
                    std::optional<ReservedPort>& port) {
  const v1::DesiredRank& desired = assignment.desired();
  Master master;
  if (desired.rank() != 0) {
    MUSTER_ASSIGN_OR_RETURN(const std::string text, agent.Get(kMasterKey, kMeetMax));
    const std::size_t space = text.find(' ');
    master.address = text.substr(0, space);
    master.port = std::atoi(text.c_str() + std::min(space, text.size()));
    return master;
  }
  MUSTER_ASSIGN_OR_RETURN(
      port, ReservedPort::Acquire(kPortFolder, desired.job_id() * 7919 + desired.attempt()));
  master = {MasterAddress(assignment), port->port()};
  if (desired.members_size() > 1) {
    MUSTER_RETURN_IF_ERROR(
        agent.Put(kMasterKey, master.address + " " + std::to_string(master.port)));
  }
  return master;
}

std::string SignalText(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : "SIG" + std::string(name);
}

class Command {
 public:
  Command(const v1::RankAssignment& assignment, AgentClient& agent)
      : assignment_(assignment),
        agent_(agent),
        spec_(assignment.desired().spec()),
        name_("`" + spec_.command().arguments(0) + "`") {}

  RankEnd Run() {
    Status status = Prepare();
    std::optional<int> ended;
    if (status.ok()) status = Wait(ended);
    RankEnd end = ended ? Judge(*ended, std::move(status)) : EndOf(status, step());
    end.step = step();
    return end;
  }

 private:
  std::uint64_t step() const { return checkpoint_ ? checkpoint_->step() : 0; }

  Status Prepare() {
    MUSTER_ASSIGN_OR_RETURN(terminated_, CatchTermination());
    // The lifeline ends what this process has started before it ends itself; the kernel would not.
    ::prctl(PR_SET_PDEATHSIG, 0);
    const v1::DesiredRank& desired = assignment_.desired();
    MUSTER_ASSIGN_OR_RETURN(
        checkpoint_,
        CommandCheckpoint::Open(
            CheckpointFolderOf(assignment_), assignment_.directory() + "/publish",
            assignment_.resume_directory(), desired.resume_step(),
            [this](const v1::PublishRequest& request) { return agent_.Publish(request); }));
    MUSTER_ASSIGN_OR_RETURN(const Master master, Meet(assignment_, agent_, port_));
    const v1::CommandRecipe& command = spec_.command();
    ProgramOptions options;
    options.arguments = {command.arguments().begin(), command.arguments().end()};
    options.environment = CommandEnvironment(assignment_, master);
    options.directory = command.has_working_directory() ? command.working_directory()
                        : command.has_ship_directory()  ? command.ship_directory()
                                                        : assignment_.job_directory();
    std::printf("muster: attempt %u, rank %u of %d: runs %s in %s\n", desired.attempt(),
                desired.rank(), std::max(desired.members_size(), 1), name_.c_str(),
                options.directory.c_str());
    MUSTER_ASSIGN_OR_RETURN(program_, Program::Start(options));
    agent_.SetProgress(v1::RANK_PHASE_RUNNING, step(), 0);
    return {};
  }

  // Until the program has ended.
  Status Wait(std::optional<int>& ended) {
    const bool keeps = assignment_.desired().rank() == 0;
    while (!(ended = program_->Ended())) {
      pollfd events[] = {{program_->descriptor(), POLLIN, 0},
                         {told_to_end_ ? -1 : terminated_.get(), POLLIN, 0}};
      ::poll(events, 2, static_cast<int>(kPoll.count()));
      if (events[1].revents != 0) {
        told_to_end_ = true;
        program_->SignalGroup(SIGTERM);
      }
      if (!warned_ && agent_.StopRequested()) Warn();
      if (keeps && !told_to_end_) {
        MUSTER_RETURN_IF_ERROR(checkpoint_->Poll());
        agent_.SetProgress(v1::RANK_PHASE_RUNNING, step(), 0);
      }
    }
    return {};
  }

  void Warn() {
    warned_ = wire::WarningSignalOf(spec_.time_limit().warning_signal());
    std::printf("muster: the time limit of %llu s is near: %s gets %s\n",
                static_cast<unsigned long long>(spec_.time_limit().seconds()), name_.c_str(),
                SignalText(*warned_).c_str());
    program_->Signal(*warned_);
  }

  RankEnd Judge(int status, Status failed) {
    if (told_to_end_) {
      return {v1::EXIT_KIND_INFRASTRUCTURE, name_ + " was ended by SIGTERM, as it was asked to"};
    }
    const bool succeeded = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (failed.ok() && assignment_.desired().rank() == 0) failed = checkpoint_->Finish(succeeded);
    if (!failed.ok() && succeeded) {
      RankEnd end = EndOf(failed, step());
      end.exit_code = 0;  // It has done its work, which must not be done twice.
      return end;
    }
    if (!failed.ok()) std::printf("muster: %s\n", failed.message().c_str());
    if (succeeded) return {v1::EXIT_KIND_SUCCESS, ""};
    RankEnd end{v1::EXIT_KIND_OWN_FAILURE, ""};
    if (WIFEXITED(status)) {
      end.exit_code = WEXITSTATUS(status);
      end.reason = name_ + " exited with code " + std::to_string(*end.exit_code);
      return end;
    }
    const int signal = WTERMSIG(status);
    end.reason = name_ + " was ended by " + SignalText(signal);
    end.exit_code = 128 + signal;
    if (warned_ == signal) {
      end.kind = v1::EXIT_KIND_STOPPED;
      end.reason += ", the warning of the time limit, which it did not handle";
    } else if (signal == SIGTERM) {
      end.kind = v1::EXIT_KIND_INFRASTRUCTURE;
    } else if (signal == SIGKILL) {
      std::printf("muster: %s was killed by SIGKILL\n", name_.c_str());
      std::fflush(nullptr);
      KillDescendants();
      ::raise(SIGKILL);
    }
    return end;
  }

  const v1::RankAssignment& assignment_;
  AgentClient& agent_;
  const v1::JobSpec& spec_;
  const std::string name_;
  FileDescriptor terminated_;
  std::optional<CommandCheckpoint> checkpoint_;
  std::optional<ReservedPort> port_;
  std::optional<Program> program_;
  bool told_to_end_ = false;
  std::optional<int> warned_;  // The signal that was sent.
};

}  // namespace

RankEnd RunCommand(const v1::RankAssignment& assignment, AgentClient& agent) {
  return Command(assignment, agent).Run();
}

}  // namespace muster::rank
