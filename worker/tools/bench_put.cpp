// A file into the store of a private coordinator, by the command, beside what a disk alone costs:
// cp of the same file, and its SHA-256.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/sha256.h"
#include "worker/tools/benchmarks.h"
#include "worker/tools/own_process.h"
#include "worker/tools/run_program.h"

namespace muster::tools {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 20U;

// Bytes that no file system can compress, the same in every run but for the first of each round.
Status WriteBlocks(const std::string& path, unsigned mib) {
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor file,
                          FileDescriptor::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  std::string block(kBlockBytes, '\0');
  std::uint64_t state = 1;
  for (unsigned i = 0; i < mib; ++i) {
    for (std::size_t at = 0; at < block.size(); at += sizeof(state)) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      std::memcpy(block.data() + at, &state, sizeof(state));
    }
    MUSTER_RETURN_IF_ERROR(WriteAll(file.get(), block, path));
  }
  if (::fsync(file.get()) != 0) return FromErrno("fsync " + path);
  return {};
}

// Another first word makes another object, which the store does not have.
Status Stamp(const std::string& path, std::uint64_t round) {
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor file, FileDescriptor::Open(path, O_WRONLY));
  if (::pwrite(file.get(), &round, sizeof(round), 0) != sizeof(round)) return FromErrno(path);
  return {};
}

struct Rates {
  std::vector<double> put, put_tls, copy, hash;  // MB/s.
};

template <class Work>
Result<double> MbPerSecond(unsigned mib, Work work) {
  const auto begin = std::chrono::steady_clock::now();
  MUSTER_RETURN_IF_ERROR(work());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(mib) * kBlockBytes / 1e6 / took.count();
}

Result<Rates> Measure(const std::string& folder, unsigned mib, unsigned repetitions) {
  const std::string file = folder + "/file", copy = folder + "/copy";
  MUSTER_RETURN_IF_ERROR(WriteBlocks(file, mib));
  MUSTER_ASSIGN_OR_RETURN(const auto plain, CoordinatorProcess::Start());
  MUSTER_ASSIGN_OR_RETURN(const auto tls, CoordinatorProcess::Start(/*tls=*/true));
  const auto put_to = [&](const CoordinatorProcess& coordinator) {
    return MbPerSecond(mib, [&] {
      return RunMuster({"put", file, "--json", "--state", coordinator.files().state}).status();
    });
  };
  Rates rates;
  for (unsigned round = 0; round < repetitions; ++round) {
    MUSTER_RETURN_IF_ERROR(Stamp(file, round));
    MUSTER_ASSIGN_OR_RETURN(const double put, put_to(*plain));
    ::sync();
    MUSTER_ASSIGN_OR_RETURN(const double put_tls, put_to(*tls));
    ::sync();
    MUSTER_ASSIGN_OR_RETURN(const double copied, MbPerSecond(mib, [&] {
                              return RunProgram("cp", {file, copy}).status();
                            }));
    MUSTER_ASSIGN_OR_RETURN(const double hashed,
                            MbPerSecond(mib, [&] { return Sha256OfFile(copy).status(); }));
    rates.put.push_back(put);
    rates.put_tls.push_back(put_tls);
    rates.copy.push_back(copied);
    rates.hash.push_back(hashed);
    // A fresh round finds no more dirty pages than this one did.
    ::unlink(copy.c_str());
    ::sync();
  }
  return rates;
}

}  // namespace

Status BenchmarkPut(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  MUSTER_ASSIGN_OR_RETURN(const unsigned mib, settings.Count("mib"));
  MUSTER_ASSIGN_OR_RETURN(const unsigned repetitions, settings.Count("repetitions"));
  std::string folder = std::filesystem::temp_directory_path() / "muster-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return FromErrno("mkdtemp " + folder);
  const Result<Rates> rates = Measure(folder, mib, repetitions);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  MUSTER_RETURN_IF_ERROR(rates.status());
  const Spread put = SpreadOf(rates->put), tls = SpreadOf(rates->put_tls);
  const double copy = SpreadOf(rates->copy).median, hash = SpreadOf(rates->hash).median;
  std::array<char, 768> text{};
  std::snprintf(text.data(), text.size(),
                json ? "{\"put_mb_per_s_median\":%.0f,\"put_mb_per_s_least\":%.0f,"
                       "\"put_mb_per_s_most\":%.0f,\"put_tls_mb_per_s_median\":%.0f,"
                       "\"put_tls_mb_per_s_least\":%.0f,\"put_tls_mb_per_s_most\":%.0f,"
                       "\"cp_mb_per_s_median\":%.0f,\"sha256_mb_per_s_median\":%.0f,\"cp_sha256_mb_"
                       "per_s_median\":%.0f}\n"
                     : "muster put: median %.0f MB/s, least %.0f, most %.0f (hashed, sent over "
                       "loopback, hashed, on the disk)\nwith TLS: median %.0f MB/s, least %.0f, "
                       "most %.0f\ncp: %.0f MB/s, sha256: %.0f MB/s, one after the other: %.0f "
                       "MB/s\n",
                put.median, put.least, put.most, tls.median, tls.least, tls.most, copy, hash,
                1 / (1 / copy + 1 / hash));
  out << text.data() << std::flush;
  return {};
}

}  // namespace muster::tools
