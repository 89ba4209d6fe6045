#include "bench/bandwidth.h"

#include <cstring>

#include "bench/timing.h"
#include "tensor/kernels/lanes.h"

namespace muster {
namespace {

constexpr std::size_t kFloats = std::size_t{64} << 20U;  // 256 MiB.
constexpr std::size_t kBlock = std::size_t{1} << 18U;
constexpr double kSampleSeconds = 0.1;

}  // namespace

Bandwidth::Bandwidth(ThreadPool* pool) : pool_(pool), from_(kFloats, 1.0F), to_(kFloats, 2.0F) {}

double Bandwidth::CopyBytesPerSecond() {
  const double seconds = SecondsPerCall(
      [&] {
        ParallelFor(pool_, kFloats / kBlock, [&](std::size_t block) {
          std::memcpy(to_.data() + block * kBlock, from_.data() + block * kBlock,
                      kBlock * sizeof(float));
        });
      },
      kSampleSeconds);
  return 2.0 * kFloats * sizeof(float) / seconds;
}

double Bandwidth::ReadBytesPerSecond() {
  std::vector<float> sums(kFloats / kBlock);
  const double seconds = SecondsPerCall(
      [&] {
        ParallelFor(pool_, sums.size(), [&](std::size_t block) {
          const float* const at = from_.data() + block * kBlock;
          kernels::Lanes parts[4] = {};
          for (std::size_t i = 0; i < kBlock; i += 4 * kernels::kLanes) {
            for (std::size_t part = 0; part < 4; ++part) {
              parts[part] += kernels::LoadLanes(at + i + part * kernels::kLanes);
            }
          }
          sums[block] = kernels::SumOf(parts[0] + parts[1] + parts[2] + parts[3]);
        });
      },
      kSampleSeconds);
  for (const float sum : sums) sum_ += sum;
  return kFloats * sizeof(float) / seconds;
}

}  // namespace muster
