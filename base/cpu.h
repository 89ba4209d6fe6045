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
  kAmx,         // AMX's tiles of bf16, where the operating system lets this process use them.
};

const char* NameOf(CpuLevel level);

// The best one of this processor and its operating system. MUSTER_CPU=avx2|avx512|avx512_bf16|amx
// lowers it, for tests: with one order of sums (below) all levels give the same bits but for
// denormals in bf16 products, which VDPBF16PS and AMX take for 0.
CpuLevel BestCpuLevel();

// MUSTER_CPU and MUSTER_BF16_SUMS: what an agent's ranks get of its environment.
inline constexpr const char* kCpuVariable = "MUSTER_CPU";
inline constexpr const char* kBf16SumsVariable = "MUSTER_BF16_SUMS";

// For tests: what BestCpuLevel says from now on, at most what there is; nothing = that again.
void LimitCpuLevel(std::optional<CpuLevel> level);

// The order in which sums of bf16 products are made: which bits they have.
enum class Bf16Sums : std::uint8_t {
  kChain,   // What VDPBF16PS does: one chain.
  kBlocks,  // What AMX does: in blocks of 32, added to each other in a chain.
};

const char* NameOf(Bf16Sums sums);

// Blocks with AMX, otherwise the chain, unless MUSTER_BF16_SUMS=chain|blocks says which: without
// AMX blocks are slower, on a processor with AMX chains are.
Bf16Sums SumsOfBf16();

// For tests: what SumsOfBf16 says from now on; nothing = what it said before. Not while a product
// is made, and operands packed before are of no use after.
void ForceBf16Sums(std::optional<Bf16Sums> sums);

}  // namespace muster
