// Loops over elements with the widest registers that the processor has.
#pragma once

#include "base/cpu.h"

// AVX-512 as in x86-64-v4; clang chooses the registers' width by itself.
#ifdef __clang__
#define MUSTER_AVX512 [[gnu::target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]]
#else
#define MUSTER_AVX512 \
  [[gnu::target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,prefer-vector-width=512")]]
#endif

namespace muster::kernels {

// loop() with all that it calls, as far as the compiler sees it, inlined and compiled for AVX-512.
// Nothing else is: a function that is called, not inlined, remains what every machine can run.
template <class Loop>
MUSTER_AVX512 [[gnu::flatten]] void RunForAvx512(const Loop& loop) {
  loop();
}

// loop() for the best level of this processor. The bits are the same on all of them: an element's
// operations are, and the compiler may neither contract nor reorder them. Loops of plain elements
// are worth it; Lanes stay eight.
template <class Loop>
void Wide(const Loop& loop) {
  if (BestCpuLevel() >= CpuLevel::kAvx512) return RunForAvx512(loop);
  loop();
}

}  // namespace muster::kernels
