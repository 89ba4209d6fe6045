// bf16 pairs with VDPBF16PS: sum = even * even + (odd * odd + sum), each multiply-add rounded once.
#include <immintrin.h>

#include <cstring>
#include <utility>

#include "tensor/kernels/gemm_kernel.h"

namespace muster::kernels {

#include "tensor/kernels/gemm_lanes512.inc"

namespace {
namespace simd {

Vector MultiplyAdd(Vector sum, Vector a, Vector b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

}  // namespace simd
}  // namespace

#include "tensor/kernels/gemm_micro.inc"

constinit const MicroKernels kAvx512Bf16 = Kernels(true, TurnWords512);

}  // namespace muster::kernels
