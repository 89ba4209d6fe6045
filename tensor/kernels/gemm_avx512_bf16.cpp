// bf16 pairs with VDPBF16PS: sum = even * even + (odd * odd + sum), each multiply-add rounded once.
#include <immintrin.h>

#include <cstring>
#include <utility>

#include "tensor/kernels/gemm_kernel.h"

namespace muster::kernels {
namespace {

using Vector = __m512;
constexpr std::size_t kLanes = 16;
constexpr std::size_t kVectors = 2;
constexpr std::size_t kRows = 12;

namespace simd {

__mmask16 First(std::size_t count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xFFFFU : (1U << count) - 1U);
}
Vector Zero() { return _mm512_setzero_ps(); }
Vector Load(const char* from) { return _mm512_load_ps(from); }
Vector LoadSome(const float* from, std::size_t count) {
  return _mm512_maskz_loadu_ps(First(count), from);
}
void StoreSome(float* to, Vector value, std::size_t count) {
  _mm512_mask_storeu_ps(to, First(count), value);
}
Vector Broadcast(const char* from) {
  float pair;
  std::memcpy(&pair, from, sizeof(pair));
  return _mm512_set1_ps(pair);
}
Vector MultiplyAdd(Vector sum, Vector a, Vector b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

}  // namespace simd
}  // namespace

#include "tensor/kernels/gemm_micro.inc"

constinit const MicroKernels kAvx512Bf16 = Kernels();

}  // namespace muster::kernels
