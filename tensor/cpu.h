// Which of this processor's vector instructions are used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster {

// Each has what those before it have.
enum class CpuLevel : std::uint8_t {
  kAvx2,        // x86-64-v3: what every machine that runs Muster has.
  kAvx512,      // x86-64-v4: F, BW, CD, DQ, VL.
  kAvx512Bf16,  // VDPBF16PS.
};

const char* NameOf(CpuLevel level);

// The best one of this processor and its operating system. MUSTER_CPU=avx2|avx512|avx512_bf16
// lowers it, for tests: all levels give the same bits but for denormal bf16 products, which
// VDPBF16PS takes for 0.
CpuLevel BestCpuLevel();

// For tests: what BestCpuLevel says from now on, at most what there is; nothing = that again.
void LimitCpuLevel(std::optional<CpuLevel> level);

}  // namespace muster
