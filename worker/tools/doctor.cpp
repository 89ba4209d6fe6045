#include "worker/tools/doctor.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "base/cpu.h"
#include "base/file.h"
#include "bench/median.h"
#include "tensor/bfloat16.h"
#include "tensor/cuda/library.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/onednn.h"
#include "tensor/memory_budget.h"
#include "tensor/thread_pool.h"

namespace muster::tools {
namespace {

using Clock = std::chrono::steady_clock;
using Verdict = Finding::Verdict;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::string Rounded(double value) { return std::to_string(static_cast<long>(value + 0.5)); }

// "model name : AMD EPYC" -> "AMD EPYC".
std::string CpuInfo(const std::string& key) {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line) && !line.empty();) {
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos && line.starts_with(key)) return line.substr(colon + 2);
  }
  return "";
}

// What a variable that chooses kernels does here, and what to do about it; empty where it is not
// set. `names` are its values, `in_use` is what is used.
std::string AboutVariable(const char* variable, const std::vector<std::string>& names,
                          const std::string& in_use) {
  const char* const value = std::getenv(variable);
  if (value == nullptr) return "";
  const std::string set = std::string(variable) + "=" + value;
  if (std::find(names.begin(), names.end(), value) == names.end()) {
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
    return set + " means nothing and is ignored: set it to one of " + all + ", or unset it";
  }
  if (value != in_use) {
    return set + " is not to be had on this processor, " + in_use + " is used: unset it";
  }
  return set + " is for tests: unset it, if the best kernels are wanted";
}

std::string AboutVariables() {
  std::vector<std::string> levels, sums;
  for (const CpuLevel level :
       {CpuLevel::kAvx2, CpuLevel::kAvx512, CpuLevel::kAvx512Bf16, CpuLevel::kAmx}) {
    levels.push_back(NameOf(level));
  }
  for (const Bf16Sums order : {Bf16Sums::kChain, Bf16Sums::kBlocks}) sums.push_back(NameOf(order));
  const std::string level = AboutVariable(kCpuVariable, levels, NameOf(BestCpuLevel()));
  const std::string order = AboutVariable(kBf16SumsVariable, sums, NameOf(SumsOfBf16()));
  return level + (level.empty() || order.empty() ? "" : "; ") + order;
}

}  // namespace

Finding LookAtProcessor(const DoctorOptions& options) {
  Finding finding{"processor", Verdict::kYes, "", ""};
  const CpuLevel level = BestCpuLevel();
  finding.what = CpuInfo("model name") + ": " + std::to_string(options.cores) +
                 " cores, kernels for " + NameOf(level) + ", bf16 sums in " + NameOf(SumsOfBf16()) +
                 ", numerics class " + options.numerics_class;
  const std::string variables = AboutVariables();
  const bool has_amx = (" " + CpuInfo("flags") + " ").find(" amx_bf16 ") != std::string::npos;
  if (!variables.empty()) {
    finding.verdict = Verdict::kNote;
    finding.todo = variables;
  } else if (has_amx && level != CpuLevel::kAmx) {
    finding.verdict = Verdict::kNote;
    finding.todo = "the system does not let this process use AMX (Linux 5.16 or later does)";
  } else if (level < CpuLevel::kAvx512Bf16) {
    finding.verdict = Verdict::kNote;
    finding.todo = "bf16 is computed in f32 here: slower, with the same bits";
  }
  return finding;
}

namespace {

// The product of two random matrices by the kernels of `level`, and its rate in GFLOP/s.
template <class T>
std::vector<float> Product(CpuLevel level, double& rate) {
  constexpr std::size_t kSize = 256;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<T> a, b;
  for (std::size_t i = 0; i < kSize * kSize; ++i) {
    a.push_back(T(normal(random)));
    b.push_back(T(normal(random)));
  }
  std::vector<float> c(kSize * kSize);
  kernels::GemmArgs args;
  args.rows = args.columns = args.inner = args.c_row_stride = kSize;
  args.type = kDTypeOf<T>;
  args.a = {a.data(), kSize, 1};
  args.b = {b.data(), kSize, 1};
  args.c = c.data();
  LimitCpuLevel(level);
  std::vector<double> seconds;
  for (int repetition = 0; repetition < 5; ++repetition) {
    const auto begin = Clock::now();
    for (int i = 0; i < 4; ++i) kernels::Gemm(args, nullptr);
    seconds.push_back(SecondsSince(begin) / 4);
  }
  LimitCpuLevel(std::nullopt);
  rate = 2e-9 * kSize * kSize * kSize / Median(seconds);
  return c;
}

template <class T>
bool SameOnAllLevels(double& rate) {
  ForceBf16Sums(SumsOfBf16());  // A lower level would choose another order.
  const std::vector<float> best = Product<T>(BestCpuLevel(), rate);
  bool same = true;
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512, CpuLevel::kAvx512Bf16}) {
    double ignored = 0;
    same = same && (level >= BestCpuLevel() || Product<T>(level, ignored) == best);
  }
  ForceBf16Sums(std::nullopt);
  return same;
}

Finding LookAtMemory(std::uint64_t mib) {
  Finding finding{"memory", Verdict::kYes, "", ""};
  constexpr std::size_t kBytes = std::size_t{64} << 20U;
  // Shells of shared machines come with one.
  rlimit addresses{};
  const bool limited =
      ::getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY;
  if (limited && addresses.rlim_cur < 8 * kBytes) {
    return {
        "memory", Verdict::kNo,
        "the shell's limit leaves this process " + BytesText(addresses.rlim_cur) + " of addresses",
        "raise it: `ulimit -v unlimited`"};
  }
  std::vector<char> from(kBytes, 1), to(kBytes);
  std::vector<double> seconds;
  for (int repetition = 0; repetition < 7; ++repetition) {
    const auto begin = Clock::now();
    std::memcpy(to.data(), from.data(), kBytes);
    seconds.push_back(SecondsSince(begin));
  }
  finding.what = BytesText(mib << 20U) + " for this process, copied at " +
                 Rounded(2e-9 * kBytes / Median(seconds)) + " GB/s by one core";
  if (limited) {
    finding.verdict = Verdict::kNote;
    finding.what += ", of addresses no more than " + BytesText(addresses.rlim_cur);
    finding.todo = "the shell's limit ends jobs that need more: `ulimit -v unlimited`";
  } else if (mib < 2048) {
    finding.verdict = Verdict::kNote;
    finding.todo = "less than 2 GiB: enough for the examples, not for language models";
  }
  return finding;
}

// "libcudnn.so.9" -> the number that its function of that name returns; empty where it is missing.
template <class Version>
std::string LibraryVersion(const char* file, const char* function, const Version& version) {
  void* const library = ::dlopen(file, RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) return "";
  void* const found = ::dlsym(library, function);
  return found == nullptr ? "" : version(found);
}

std::string CudnnVersion() {
  return LibraryVersion("libcudnn.so.9", "cudnnGetVersion", [](void* function) {
    return std::to_string(reinterpret_cast<std::size_t (*)()>(function)());
  });
}

std::string NcclVersion() {
  return LibraryVersion("libnccl.so.2", "ncclGetVersion", [](void* function) {
    int version = 0;
    reinterpret_cast<int (*)(int*)>(function)(&version);
    return std::to_string(version);
  });
}

Finding LookAtGpus(const std::vector<std::string>& models) {
  Finding finding{"gpu", Verdict::kYes, "", ""};
  for (const std::string& model : models) {
    finding.what += (finding.what.empty() ? "" : ", ") + model;
  }
  std::ifstream driver("/proc/driver/nvidia/version");
  std::string version;
  std::getline(driver, version);
  if (!finding.what.empty()) {
    finding.what += "; " + version;
    return finding;
  }
  finding.verdict = Verdict::kNote;
  finding.what =
      version.empty() ? "none, and no NVIDIA driver" : "none, though there is " + version;
  finding.todo = "jobs run on the processor; with a GPU in the machine install its driver";
  return finding;
}

Finding LookAtLibraries() {
  const auto version = [](const dnnl_version_t& v) {
    return std::to_string(v.major) + "." + std::to_string(v.minor) + "." + std::to_string(v.patch);
  };
  return {"libraries", Verdict::kYes,
          "oneDNN " + version(*dnnl_version()) + " for convolutions, one thread of ours each", ""};
}

}  // namespace

Finding LookAtProducts() {
  Finding finding{"products", Verdict::kYes, "", ""};
  double f32 = 0, bf16 = 0;
  const bool same = SameOnAllLevels<float>(f32) && SameOnAllLevels<BFloat16>(bf16);
  finding.what = "f32 " + Rounded(f32) + ", bf16 " + Rounded(bf16) +
                 " GFLOP/s on one core, the same bits with every instruction set";
  if (!same) {
    finding.verdict = Verdict::kNo;
    finding.what = "instruction sets of this processor give different bits for one product";
    finding.todo = "do not trust its results: run a memory test, then report it with this output";
  }
  return finding;
}

Finding LookAtThreads(std::size_t cores) {
  Finding finding{"threads", Verdict::kYes, "", ""};
  ThreadPool pool(cores);
  std::vector<double> seconds;
  std::atomic<std::size_t> sum = 0;
  constexpr int kRepetitions = 21;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    const auto begin = Clock::now();
    pool.ParallelFor(64, [&](std::size_t block) { sum += block; });
    seconds.push_back(SecondsSince(begin));
  }
  std::size_t nodes = 0;
  for (std::error_code none;
       const auto& entry : std::filesystem::directory_iterator("/sys/devices/system/node", none)) {
    const std::string name = entry.path().filename();
    nodes += name.starts_with("node") && name.size() > 4 && std::isdigit(name[4]) != 0 ? 1 : 0;
  }
  finding.what = std::to_string(cores) + " share the work of an op in " +
                 Rounded(Median(seconds) * 1e6) + " us" +
                 (nodes > 1 ? "; " + std::to_string(nodes) + " NUMA nodes" : "");
  if (sum != kRepetitions * 2016U) {
    finding.verdict = Verdict::kNo;
    finding.todo = "blocks of work were lost: report it with this output";
  }
  return finding;
}

Finding LookAtSharedMemory(const std::string& folder) {
  Finding finding{"shared memory", Verdict::kYes, "", ""};
  struct statvfs space {};
  if (::statvfs(folder.c_str(), &space) != 0) {
    return {"shared memory", Verdict::kNo, folder + ": " + std::strerror(errno),
            "ranks of one machine need it: mount a tmpfs there, or set collectives = \"gloo\""};
  }
  const std::uint64_t free = std::uint64_t{space.f_bavail} * space.f_frsize;
  const std::string probe = folder + "/muster-doctor-" + std::to_string(::getpid());
  const auto file = FileDescriptor::Open(probe, O_WRONLY | O_CREAT | O_EXCL, 0600);
  const bool writable = file.ok() && WriteAll(file->get(), std::string(4096, 'x'), probe).ok();
  static_cast<void>(::unlink(probe.c_str()));
  finding.what = folder + " has " + BytesText(free) + " free";
  constexpr std::uint64_t kLittle = std::uint64_t{256} << 20U;
  if (!writable) {
    finding.verdict = Verdict::kNo;
    finding.what += " and cannot be written to";
    finding.todo = "give this user write permission, or set collectives = \"gloo\"";
  } else if (free < kLittle) {
    finding.verdict = Verdict::kNote;
    finding.todo = "gradients of large models do not fit: mount it larger (docker: --shm-size)";
  }
  return finding;
}

Finding LookAtNetwork() {
  Finding finding{"network", Verdict::kYes, "127.0.0.1 takes connections", ""};
  const FileDescriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const FileDescriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  const bool works = ::bind(listener.get(), generic, size) == 0 &&
                     ::listen(listener.get(), 1) == 0 &&
                     ::getsockname(listener.get(), generic, &size) == 0 &&
                     ::connect(client.get(), generic, size) == 0;
  if (works) return finding;
  finding.verdict = Verdict::kNo;
  finding.what = std::string("127.0.0.1 takes no connection: ") + std::strerror(errno);
  finding.todo = "bring up the loopback interface (`ip link set lo up`)";
  return finding;
}

Finding LookAtDisk(const std::string& state) {
  Finding finding{"disk", Verdict::kYes, "", ""};
  std::error_code error;
  std::filesystem::path there = state;
  while (!std::filesystem::exists(there, error) && there.has_parent_path() &&
         there != there.parent_path()) {
    there = there.parent_path();
  }
  struct statvfs space {};
  if (::statvfs(there.c_str(), &space) != 0 || ::access(there.c_str(), W_OK) != 0) {
    return {"disk", Verdict::kNo, state + " cannot be written to: " + std::strerror(errno),
            "name another folder with --state or MUSTER_STATE"};
  }
  const std::string probe = there / (".muster-doctor-" + std::to_string(::getpid()));
  std::vector<double> seconds;
  bool written = true;
  int error_number = 0;  // Of the write, not of what cleans up after it.
  {
    const auto file = FileDescriptor::Open(probe, O_WRONLY | O_CREAT | O_EXCL, 0600);
    for (int i = 0; i < 9 && written; ++i) {
      const auto begin = Clock::now();
      written = file.ok() && WriteAll(file->get(), std::string(4096, 'x'), probe).ok() &&
                ::fdatasync(file->get()) == 0;
      if (!written) error_number = errno;
      seconds.push_back(SecondsSince(begin));
    }
  }
  static_cast<void>(::unlink(probe.c_str()));
  const std::uint64_t free = std::uint64_t{space.f_bavail} * space.f_frsize;
  finding.what = state + " has " + BytesText(free) + " free, 4 KiB are safe after " +
                 Rounded(Median(seconds) * 1e6) + " us";
  if (!written) {
    finding.verdict = Verdict::kNo;
    finding.what = state + " cannot be written to: " + std::strerror(error_number);
    finding.todo = "make room, or name another folder with --state or MUSTER_STATE";
  } else if (free < (std::uint64_t{2} << 30U)) {
    finding.verdict = Verdict::kNote;
    finding.todo = "checkpoints and data sets fill it soon: make room, or name another --state";
  }
  return finding;
}

Finding LookAtCuda() {
  Finding finding{"cuda", Verdict::kNote, "", ""};
  const std::string cudnn = CudnnVersion(), nccl = NcclVersion();
  finding.what = (cudnn.empty() ? "no cuDNN 9" : "cuDNN " + cudnn) + ", " +
                 (nccl.empty() ? "no NCCL 2" : "NCCL " + nccl) + "; ";
  const auto functions = cuda::Library();
  if (!functions.ok()) {
    finding.what += functions.status().message();
    finding.todo = "only GPUs need it: build with MUSTER_CUDA=ON on a machine with CUDA";
    return finding;
  }
  const auto count = cuda::DeviceCount(**functions);
  if (!count.ok()) {
    finding.what += "libmuster_cuda.so loads; " + count.status().message();
    finding.todo = "only GPUs need it";
    return finding;
  }
  finding.verdict = Verdict::kYes;
  finding.what += "libmuster_cuda.so reaches " + std::to_string(*count) + " GPUs";
  return finding;
}

std::string FindingJson(const Finding& finding) {
  constexpr const char* kNames[] = {"yes", "note", "no"};
  return nlohmann::json{{"topic", finding.topic},
                        {"verdict", kNames[static_cast<std::size_t>(finding.verdict)]},
                        {"what", finding.what},
                        {"todo", finding.todo}}
      .dump();
}

std::string FindingText(const Finding& finding, unsigned columns) {
  constexpr const char* kMarks[] = {"yes ", "note", "NO  "};
  constexpr std::size_t kIndent = 20;
  std::string text =
      std::string(kMarks[static_cast<std::size_t>(finding.verdict)]) + "  " + finding.topic;
  text += std::string(text.size() < kIndent ? kIndent - text.size() : 1, ' ');
  std::string rest = finding.what + (finding.todo.empty() ? "" : "; " + finding.todo);
  const std::size_t width = columns > kIndent + 20 ? columns - kIndent : std::string::npos;
  while (rest.size() > width) {
    std::size_t cut = rest.rfind(' ', width);
    if (cut == std::string::npos || cut == 0) cut = width;
    text += rest.substr(0, cut) + "\n" + std::string(kIndent, ' ');
    rest.erase(0, rest[cut] == ' ' ? cut + 1 : cut);
  }
  return text + rest;
}

std::size_t RunDoctor(const DoctorOptions& options, unsigned columns, std::ostream& out) {
  const std::function<Finding()> looks[] = {[&] { return LookAtProcessor(options); },
                                            LookAtProducts,
                                            [&] { return LookAtMemory(options.memory_mib); },
                                            [&] { return LookAtThreads(options.cores); },
                                            [] { return LookAtSharedMemory("/dev/shm"); },
                                            LookAtNetwork,
                                            [&] { return LookAtDisk(options.state); },
                                            LookAtLibraries,
                                            [&] { return LookAtGpus(options.gpus); },
                                            LookAtCuda};
  std::size_t noes = 0;
  for (const auto& look : looks) {
    const Finding finding = look();
    noes += finding.verdict == Verdict::kNo ? 1 : 0;
    out << (options.json ? FindingJson(finding) : FindingText(finding, columns)) << std::endl;
  }
  return noes;
}

}  // namespace muster::tools
