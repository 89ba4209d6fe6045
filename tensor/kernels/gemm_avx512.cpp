// f32 with 512-bit registers. Compiled for x86-64-v4: nothing here may be inline elsewhere.
#include <immintrin.h>

#include <cstring>
#include <utility>

#include "tensor/kernels/gemm_kernel.h"

namespace muster::kernels {

#include "tensor/kernels/gemm_lanes512.inc"

namespace {
namespace simd {

Vector MultiplyAdd(Vector sum, Vector a, Vector b) { return _mm512_fmadd_ps(a, b, sum); }

}  // namespace simd
}  // namespace

#include "tensor/kernels/gemm_micro.inc"

constinit const MicroKernels kAvx512F32 = Kernels(false, TurnWords512);

}  // namespace muster::kernels
