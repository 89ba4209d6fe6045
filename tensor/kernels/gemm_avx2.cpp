// f32 with 256-bit registers.
#include <immintrin.h>

#include <cstring>
#include <utility>

#include "tensor/kernels/gemm_kernel.h"

namespace muster::kernels {
namespace {

using Vector = __m256;
constexpr std::size_t kLanes = 8;
constexpr std::size_t kVectors = 2;
constexpr std::size_t kRows = 6;

namespace simd {

__m256i First(std::size_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
}
Vector Zero() { return _mm256_setzero_ps(); }
Vector Load(const char* from) { return _mm256_loadu_ps(reinterpret_cast<const float*>(from)); }
Vector LoadSome(const float* from, std::size_t count) {
  return _mm256_maskload_ps(from, First(count));
}
void StoreSome(float* to, Vector value, std::size_t count) {
  _mm256_maskstore_ps(to, First(count), value);
}
void Prefetch(const char* at) { _mm_prefetch(at, _MM_HINT_T0); }
Vector Broadcast(const char* from) {
  float value;
  std::memcpy(&value, from, sizeof(value));
  return _mm256_set1_ps(value);
}
Vector MultiplyAdd(Vector sum, Vector a, Vector b) { return _mm256_fmadd_ps(a, b, sum); }

}  // namespace simd
}  // namespace

#include "tensor/kernels/gemm_micro.inc"

constinit const MicroKernels kAvx2F32 = Kernels(false, nullptr);

}  // namespace muster::kernels
