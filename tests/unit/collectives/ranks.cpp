#include "tests/unit/collectives/ranks.h"

#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/philox.h"
#include "base/sha256.h"
#include "collectives/gloo/gloo_group.h"
#include "collectives/local/local_group.h"
#include "collectives/shm/shm_group.h"

namespace muster {
namespace {

using testing_support::ProcessResult;

std::vector<ProcessResult> RunThreads(std::size_t size, const RankFunction& run,
                                      const GroupOptions& options) {
  auto groups = CreateLocalGroups(size, options);
  std::vector<ProcessResult> results(size);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] { results[rank] = {run(*groups[rank]), 0, true}; });
  }
  for (auto& thread : threads) thread.join();
  return results;
}

std::string Run(Result<std::unique_ptr<Group>> group, const RankFunction& run) {
  return group.ok() ? run(**group) : "create: " + group.status().message();
}

}  // namespace

std::string SegmentPrefix() { return "/muster-test-" + std::to_string(::getpid()) + "-"; }

std::vector<ProcessResult> RunRanks(const std::string& transport, std::size_t size,
                                    const RankFunction& run, const GroupOptions& options) {
  static int groups = 0;
  const std::string name = SegmentPrefix() + std::to_string(++groups);
  if (transport == "local") return RunThreads(size, run, options);
  if (transport == "shm") {
    return testing_support::RunProcesses(size, [&](std::size_t rank) {
      return Run(CreateShmGroup({name, 7, rank, size, options}), run);
    });
  }
  std::string folder = "/tmp/muster-rendezvous-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return {};
  auto results = testing_support::RunProcesses(size, [&](std::size_t rank) {
    FileRendezvous rendezvous(folder);
    return Run(CreateGlooGroup({"test", rank, size, "", "", options}, rendezvous), run);
  });
  std::filesystem::remove_all(folder);
  return results;
}

std::vector<std::string> SegmentsLeft() {
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(SegmentPrefix().substr(1), 0) == 0) left.push_back(name);
  }
  return left;
}

std::vector<float> TestValues(std::size_t seed, std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    const PhiloxBlock bits = RandomBlock(seed, RandomPurpose::kInitialization, 0, i);
    values[i] = std::ldexp(UnitFloat(bits[0]) - 0.5F, static_cast<int>(bits[1] % 24U) - 12);
  }
  return values;
}

std::string Digest(std::span<const float> values) {
  return Sha256Of({reinterpret_cast<const char*>(values.data()), values.size_bytes()});
}

}  // namespace muster
