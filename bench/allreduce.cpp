#include "bench/allreduce.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <iomanip>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

#include "bench/peer.h"
#include "collectives/gloo/gloo_group.h"
#include "collectives/rendezvous.h"
#include "collectives/shm/shm_group.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kRanks = 2;

struct Contender {
  std::string name;  // For the table.
  std::string key;   // For the JSON object.
  Group* group;
  std::span<float> memory;
  std::function<Status(std::span<float>)> all_reduce;
};

struct Groups {
  std::unique_ptr<Group> shm, gloo;
};

Result<Groups> Connect(std::size_t rank, pid_t parent, const std::string& folder) {
  Groups groups;
  const std::string name = "/muster-bench-" + std::to_string(parent);
  auto shm = CreateShmGroup({name, 0, rank, kRanks, {}});
  if (!shm.ok()) return shm.status();
  FileRendezvous rendezvous(folder);
  auto gloo = CreateGlooGroup({"bench", rank, kRanks, "", "", {}}, rendezvous);
  if (!gloo.ok()) return gloo.status();
  groups.shm = std::move(*shm);
  groups.gloo = std::move(*gloo);
  return groups;
}

std::vector<Contender> Contenders(const Groups& groups, std::span<float> registered,
                                  std::span<float> plain) {
  Group* const shm = groups.shm.get();
  Group* const gloo = groups.gloo.get();
  const auto ordered = [](Group* group) {
    return [group](std::span<float> values) { return group->AllReduce(values); };
  };
  const auto own = [gloo](GlooAlgorithm algorithm) {
    return [gloo, algorithm](std::span<float> values) {
      return GlooOwnAllReduce(*gloo, values, algorithm);
    };
  };
  return {{"shm, ordered", "shm_ordered", shm, registered, ordered(shm)},
          {"shm, ordered, unregistered", "shm_copy", shm, plain, ordered(shm)},
          {"gloo, ordered", "gloo_ordered", gloo, plain, ordered(gloo)},
          {"Gloo's own, ring", "gloo_ring", gloo, plain, own(GlooAlgorithm::kRing)},
          {"Gloo's own, bcube", "gloo_bcube", gloo, plain, own(GlooAlgorithm::kBcube)}};
}

// While it lives, the calling thread has a core of its own where there are enough, as MPI's
// launchers arrange it: left alone, the kernel may keep two ranks that wake each other on one core.
class OwnCore {
 public:
  explicit OwnCore(std::size_t rank) {
    if (::sched_getaffinity(0, sizeof(before_), &before_) != 0) return;
    std::size_t skip = rank % static_cast<std::size_t>(std::max(CPU_COUNT(&before_), 1));
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (!CPU_ISSET(core, &before_) || skip-- > 0) continue;
      cpu_set_t own;
      CPU_ZERO(&own);
      CPU_SET(core, &own);
      bound_ = ::sched_setaffinity(0, sizeof(own), &own) == 0;
      return;
    }
  }
  OwnCore(const OwnCore&) = delete;
  OwnCore& operator=(const OwnCore&) = delete;
  ~OwnCore() {
    if (bound_) ::sched_setaffinity(0, sizeof(before_), &before_);
  }

 private:
  cpu_set_t before_;
  bool bound_ = false;
};

// Microseconds of one call: the mean over `calls` of them.
Result<double> Sample(const Contender& contender, std::size_t count, std::size_t calls) {
  // Gloo has a thread beside the caller's and is left to the kernel.
  std::optional<OwnCore> own_core;
  if (contender.group->transport() == "shm") own_core.emplace(contender.group->rank());
  MUSTER_RETURN_IF_ERROR(contender.group->Barrier());
  const auto start = Clock::now();
  for (std::size_t i = 0; i < calls; ++i) {
    MUSTER_RETURN_IF_ERROR(contender.all_reduce(contender.memory.first(count)));
  }
  const std::chrono::duration<double, std::micro> time = Clock::now() - start;
  return time.count() / static_cast<double>(calls);
}

// How many calls make a sample; the same on both ranks, as rank 0 says.
Result<std::size_t> CallsPerSample(const Contender& contender, std::size_t count,
                                   double sample_ms) {
  auto first = Sample(contender, count, 1);  // Warms up.
  if (!first.ok()) return first.status();
  auto time = Sample(contender, count, 2);
  if (!time.ok()) return time.status();
  std::vector<float> calls = {
      static_cast<float>(std::clamp(sample_ms * 1000 / *time, 1.0, 100000.0))};
  MUSTER_RETURN_IF_ERROR(contender.group->Broadcast(std::span<float>(calls), 0));
  return static_cast<std::size_t>(calls[0]);
}

std::string SizeName(std::size_t bytes) {
  if (bytes >= (std::size_t{1} << 20)) return std::to_string(bytes >> 20U) + " MiB";
  return std::to_string(bytes >> 10U) + " KiB";
}

std::string KeyOf(const std::string& contender, std::size_t bytes, const std::string& what) {
  std::string size = SizeName(bytes);
  size.erase(std::remove(size.begin(), size.end(), ' '), size.end());
  std::transform(size.begin(), size.end(), size.begin(), [](char c) { return std::tolower(c); });
  return contender + "_" + size + "_" + what + "_median";
}

double BusGigabytesPerSecond(std::size_t bytes, double micros) {
  constexpr double kFactor = 2.0 * (kRanks - 1) / kRanks;
  return kFactor * static_cast<double>(bytes) / micros / 1000;
}

void PrintRow(const std::string& name, std::size_t bytes, double median, double least, double most,
              std::ostream& out) {
  out << std::setw(8) << SizeName(bytes) << "  " << std::left << std::setw(28) << name << std::right
      << std::fixed << std::setprecision(median < 100 ? 2 : 0) << std::setw(10) << median
      << std::setw(10) << least << std::setw(10) << most << std::setprecision(1) << std::setw(8)
      << BusGigabytesPerSecond(bytes, median) << "\n";
}

void Print(const Contender& contender, std::size_t bytes, std::vector<double> samples, bool json,
           std::ostream& out) {
  std::sort(samples.begin(), samples.end());
  const double median = samples[samples.size() / 2];
  if (json) {
    out << ", \"" << KeyOf(contender.key, bytes, "us") << "\": " << median << ", \""
        << KeyOf(contender.key, bytes, "gb_per_s")
        << "\": " << BusGigabytesPerSecond(bytes, median);
    return;
  }
  PrintRow(contender.name, bytes, median, samples.front(), samples.back(), out);
}

// OpenMPI brings up its own processes, so it cannot take turns with the others: it comes after
// them.
void TellOpenMpi(const AllReduceBenchmarkOptions& options, std::ostream& out) {
  std::vector<std::string> command = {"mpirun", "--allow-run-as-root", "--oversubscribe", "-n",
                                      std::to_string(kRanks)};
  command.insert(command.end(), options.openmpi_rank_command.begin(),
                 options.openmpi_rank_command.end());
  const auto output = RunPeer(command);
  if (!output.ok() || output->status != 0 || output->numbers.size() != 3 * options.bytes.size()) {
    if (options.json) return;
    const bool none = output.ok() && output->status == 127 << 8;
    out << "OpenMPI: "
        << (none ? "there is no mpirun (Debian's openmpi-bin)"
                 : (output.ok() ? output->last_line() : output.status().message()))
        << "\n";
    return;
  }
  for (std::size_t i = 0; i < options.bytes.size(); ++i) {
    const double* const row = &output->numbers[3 * i];
    if (options.json) {
      out << ", \"" << KeyOf("openmpi", options.bytes[i], "us") << "\": " << row[0];
    } else {
      PrintRow("OpenMPI", options.bytes[i], row[0], row[1], row[2], out);
    }
  }
}

Status Measure(std::size_t rank, pid_t parent, const std::string& folder,
               const AllReduceBenchmarkOptions& options, std::ostream& out) {
  auto groups = Connect(rank, parent, folder);
  if (!groups.ok()) return groups.status();
  const std::size_t bytes_max = *std::max_element(options.bytes.begin(), options.bytes.end());
  auto registered = groups->shm->Allocate(bytes_max / sizeof(float));
  if (!registered.ok()) return registered.status();
  std::vector<float> plain(bytes_max / sizeof(float));
  const auto contenders = Contenders(*groups, *registered, plain);
  if (options.json) {
    out << "{\"ranks\": " << kRanks;
  } else {
    out << "all-reduce of floats, 2 processes on one host (microseconds; bus bandwidth in GB/s)\n"
        << "    size  contender                       median       min       max  GB/s\n";
  }
  for (const std::size_t bytes : options.bytes) {
    const std::size_t count = bytes / sizeof(float);
    std::vector<std::size_t> calls;
    std::vector<std::vector<double>> samples(contenders.size());
    for (const Contender& contender : contenders) {
      auto number = CallsPerSample(contender, count, options.sample_ms);
      if (!number.ok()) return number.status();
      calls.push_back(*number);
    }
    for (std::size_t round = 0; round < options.rounds; ++round) {
      for (std::size_t i = 0; i < contenders.size(); ++i) {
        auto sample = Sample(contenders[i], count, calls[i]);
        if (!sample.ok()) return sample.status();
        samples[i].push_back(*sample);
      }
    }
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      Print(contenders[i], bytes, samples[i], options.json, out);
    }
  }
  return groups->shm->Barrier();
}

// The child's code of RunAllReduceBenchmark: rank 0 writes the table to `report`.
[[noreturn]] void RunRank(std::size_t rank, pid_t parent, const std::string& folder,
                          const AllReduceBenchmarkOptions& options, int report) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::ostringstream out;
  std::string error;
  try {
    const Status status = Measure(rank, parent, folder, options, out);
    if (!status.ok()) error = status.message();
  } catch (const std::exception& exception) {
    error = exception.what();
  }
  const std::string text =
      error.empty() ? out.str() : "rank " + std::to_string(rank) + ": " + error;
  const bool write = rank == 0 || !error.empty();
  const bool written = !write || ::write(report, text.data(), text.size()) >= 0;
  ::_exit(error.empty() && written ? 0 : 1);
}

}  // namespace

Status RunAllReduceBenchmark(const AllReduceBenchmarkOptions& options, std::ostream& out) {
  if (options.bytes.empty() || options.rounds == 0) {
    return InvalidArgument("all-reduce benchmark: no sizes or no rounds");
  }
  std::string folder = std::filesystem::temp_directory_path() / "muster-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return FromErrno("create " + folder);
  int ends[2];
  if (::pipe(ends) != 0) return FromErrno("pipe");
  const pid_t parent = ::getpid();
  pid_t children[kRanks];
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    children[rank] = ::fork();
    if (children[rank] < 0) return FromErrno("fork");
    if (children[rank] == 0) RunRank(rank, parent, folder, options, ends[1]);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  bool good = true;
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  std::filesystem::remove_all(folder);
  if (!good) return Internal("all-reduce benchmark: " + text);
  out << text << std::flush;
  if (!options.openmpi_rank_command.empty()) TellOpenMpi(options, out);
  if (options.json) out << "}" << std::endl;
  return {};
}

}  // namespace muster
