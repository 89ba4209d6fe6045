#include "base/cpu.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

namespace muster {
namespace {

// Linux saves tiles only for processes that have asked for them. Asking twice is no error.
bool MayUseAmx() {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned int kAmxBf16 = 1U << 22U, kAmxTile = 1U << 24U;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kAmxBf16) == 0 || (d & kAmxTile) == 0) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM.
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

CpuLevel Detect() {
  // The compiler's runtime asks the processor, and whether the system saves its registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") == 0 || __builtin_cpu_supports("avx512bw") == 0 ||
      __builtin_cpu_supports("avx512cd") == 0 || __builtin_cpu_supports("avx512dq") == 0 ||
      __builtin_cpu_supports("avx512vl") == 0) {
    return CpuLevel::kAvx2;
  }
  if (__builtin_cpu_supports("avx512bf16") == 0) return CpuLevel::kAvx512;
  static const bool amx = MayUseAmx();
  return amx ? CpuLevel::kAmx : CpuLevel::kAvx512Bf16;
}

CpuLevel FromEnvironment() {
  const CpuLevel best = Detect();
  const char* const wanted = std::getenv(kCpuVariable);
  for (const CpuLevel level :
       {CpuLevel::kAvx2, CpuLevel::kAvx512, CpuLevel::kAvx512Bf16, CpuLevel::kAmx}) {
    if (wanted != nullptr && std::strcmp(wanted, NameOf(level)) == 0) return std::min(best, level);
  }
  return best;
}

std::atomic<CpuLevel>& Current() {
  static std::atomic<CpuLevel> level = FromEnvironment();
  return level;
}

constexpr int kByLevel = -1;

int SumsFromEnvironment() {
  const char* const wanted = std::getenv(kBf16SumsVariable);
  for (const Bf16Sums sums : {Bf16Sums::kChain, Bf16Sums::kBlocks}) {
    if (wanted != nullptr && std::strcmp(wanted, NameOf(sums)) == 0) return static_cast<int>(sums);
  }
  return kByLevel;
}

std::atomic<int>& CurrentSums() {
  static std::atomic<int> sums = SumsFromEnvironment();
  return sums;
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
    case CpuLevel::kAmx:
      return "amx";
  }
  return "?";
}

CpuLevel BestCpuLevel() { return Current().load(std::memory_order_relaxed); }

void LimitCpuLevel(std::optional<CpuLevel> level) {
  Current() = level ? std::min(Detect(), *level) : FromEnvironment();
}

const char* NameOf(Bf16Sums sums) { return sums == Bf16Sums::kChain ? "chain" : "blocks"; }

Bf16Sums SumsOfBf16() {
  const int sums = CurrentSums().load(std::memory_order_relaxed);
  if (sums != kByLevel) return static_cast<Bf16Sums>(sums);
  return BestCpuLevel() == CpuLevel::kAmx ? Bf16Sums::kBlocks : Bf16Sums::kChain;
}

void ForceBf16Sums(std::optional<Bf16Sums> sums) {
  CurrentSums() = sums ? static_cast<int>(*sums) : SumsFromEnvironment();
}

}  // namespace muster
