#include "tensor/cpu.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

namespace muster {
namespace {

CpuLevel Detect() {
  // The compiler's runtime asks the processor, and whether the system saves its registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") == 0 || __builtin_cpu_supports("avx512bw") == 0 ||
      __builtin_cpu_supports("avx512cd") == 0 || __builtin_cpu_supports("avx512dq") == 0 ||
      __builtin_cpu_supports("avx512vl") == 0) {
    return CpuLevel::kAvx2;
  }
  return __builtin_cpu_supports("avx512bf16") == 0 ? CpuLevel::kAvx512 : CpuLevel::kAvx512Bf16;
}

CpuLevel FromEnvironment() {
  const CpuLevel best = Detect();
  const char* const wanted = std::getenv("MUSTER_CPU");
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512, CpuLevel::kAvx512Bf16}) {
    if (wanted != nullptr && std::strcmp(wanted, NameOf(level)) == 0) return std::min(best, level);
  }
  return best;
}

std::atomic<CpuLevel>& Current() {
  static std::atomic<CpuLevel> level = FromEnvironment();
  return level;
}

}  // namespace

const char* NameOf(CpuLevel level) {
  switch (level) {
    case CpuLevel::kAvx2:
      return "avx2";
    case CpuLevel::kAvx512:
      return "avx512";
    case CpuLevel::kAvx512Bf16:
      return "avx512_bf16";
  }
  return "?";
}

CpuLevel BestCpuLevel() { return Current().load(std::memory_order_relaxed); }

void LimitCpuLevel(std::optional<CpuLevel> level) {
  Current() = level ? std::min(Detect(), *level) : FromEnvironment();
}

}  // namespace muster
