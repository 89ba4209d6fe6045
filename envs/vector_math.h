// Arithmetic on four environments at once, and sine and cosine with the GNU C library's bits.
//
// Formulas are written once, as templates of `Real`, and used with `double` (one environment) and
// `Double4` (four side by side). Every operation is done element by element and rounded as IEEE 754
// says, so an environment's numbers are the same alone, in any place of a batch and beside any
// neighbours.
//
// Why not std::sin: it takes one number at a time, and its last bit belongs to the C library.
// Python's math.sin and NumPy's scalar sin (where NumPy has no vector version) are glibc's, so
// traces that equal Gymnasium's need glibc's bits. Sin and Cos below take the same steps as glibc
// 2.28 and later on processors with fused multiply-add (0.55 units in the last place); the unit
// tests compare them with std::sin and std::cos.
// Source of the method: IBM Accurate Mathematical Library (sysdeps/ieee754/dbl-64/s_sin.c).
#pragma once

#include <immintrin.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace muster::envs {

using Double4 = double __attribute__((vector_size(32)));
using Long4 = long long __attribute__((vector_size(32)));  // NOLINT: what comparisons give.
using Float4 = float __attribute__((vector_size(16)));
using Int4 = std::int32_t __attribute__((vector_size(16)));

// What a comparison of Reals gives.
template <class Real>
struct MaskOf;
template <>
struct MaskOf<double> {
  using type = bool;
};
template <>
struct MaskOf<Double4> {
  using type = Long4;
};
template <class Real>
using Mask = typename MaskOf<Real>::type;

inline double Select(bool mask, double yes, double no) { return mask ? yes : no; }
inline Double4 Select(Long4 mask, Double4 yes, Double4 no) { return mask ? yes : no; }
inline bool Any(bool mask) { return mask; }
inline bool Any(Long4 mask) { return !_mm256_testz_si256((__m256i)mask, (__m256i)mask); }
inline bool And(bool a, bool b) { return a && b; }
inline Long4 And(Long4 a, Long4 b) { return a & b; }
inline bool Or(bool a, bool b) { return a || b; }
inline Long4 Or(Long4 a, Long4 b) { return a | b; }
inline bool Not(bool a) { return !a; }
inline Long4 Not(Long4 a) { return ~a; }

template <class Real>
Real Fill(double value);
template <>
inline double Fill<double>(double value) {
  return value;
}
template <>
inline Double4 Fill<Double4>(double value) {
  return Double4{value, value, value, value};
}

// a * b + c, -(a * b) + c and a * b - c, rounded once.
inline double Fma(double a, double b, double c) { return std::fma(a, b, c); }
inline double Fnma(double a, double b, double c) { return std::fma(-a, b, c); }
inline double Fms(double a, double b, double c) { return std::fma(a, b, -c); }
inline Double4 Fma(Double4 a, Double4 b, Double4 c) { return (Double4)_mm256_fmadd_pd(a, b, c); }
inline Double4 Fnma(Double4 a, Double4 b, Double4 c) { return (Double4)_mm256_fnmadd_pd(a, b, c); }
inline Double4 Fms(Double4 a, Double4 b, Double4 c) { return (Double4)_mm256_fmsub_pd(a, b, c); }

inline double Abs(double x) { return std::fabs(x); }
inline Double4 Abs(Double4 x) { return (Double4)_mm256_andnot_pd(_mm256_set1_pd(-0.0), x); }
// The size of x with the sign of `sign`.
inline double CopySign(double x, double sign) { return std::copysign(x, sign); }
inline Double4 CopySign(Double4 x, Double4 sign) {
  const __m256d bit = _mm256_set1_pd(-0.0);
  return (Double4)_mm256_or_pd(_mm256_andnot_pd(bit, x), _mm256_and_pd(bit, sign));
}
inline double Truncate(double x) { return std::trunc(x); }
inline Double4 Truncate(Double4 x) {
  return (Double4)_mm256_round_pd(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}
// To float and back: one rounding to 24 bits. An operation on floats is one on doubles with this
// after it (sums, products and quotients of floats never round differently in two steps). By an
// intrinsic, because g++ 12 takes two casts next to two others for nothing (envs/CMakeLists.txt).
inline double RoundToFloat(double x) {
  return static_cast<double>(_mm_cvtss_f32(_mm_cvtsd_ss(_mm_setzero_ps(), _mm_set_sd(x))));
}
inline Double4 RoundToFloat(Double4 x) { return (Double4)_mm256_cvtps_pd(_mm256_cvtpd_ps(x)); }

// As Python's min and max: the first unless the second is smaller (larger).
template <class Real>
Real Min(Real first, Real second) {
  return Select(second < first, second, first);
}
template <class Real>
Real Max(Real first, Real second) {
  return Select(second > first, second, first);
}
template <class Real>
Real Clip(Real x, double low, double high) {
  return Min(Max(x, Fill<Real>(low)), Fill<Real>(high));
}

namespace trigonometry {

// sin(k/128) and cos(k/128), each as a double and what it lacks.
struct alignas(32) Row {
  double sine, sine_rest, cosine, cosine_rest;
};
constexpr std::size_t kRows = 128;  // A mask keeps any index inside.
extern const std::array<Row, kRows> kTable;

constexpr double kBig = 0x1.8p45;        // Adding it rounds to a multiple of 1/128.
constexpr double kToInteger = 0x1.8p52;  // Adding it rounds to an integer.
constexpr double kHalfPi = 0x1.921FB54442D18p0, kHalfPiRest = 0x1.1A62633145C07p-54;
constexpr double kNear = 0x1.B6p-1;      // 0.855: below it, no reduction.
constexpr double kMiddle = 0x1.368FDp1;  // 2.426: below it, pi/2 - |x|.
constexpr double kFar = 0x1.921FBp26;    // 1.05e8: beyond it, the C library's.

// sin(x + dx) for |x| < 0.126 by its series.
template <class Real>
Real SineSeries(Real x, Real dx) {
  const Real xx = x * x;
  Real sum = Fill<Real>(-0x1.ADDFFC2FCDF59p-26);
  sum = Fma(sum, xx, Fill<Real>(0x1.71DE27B9A7ED9p-19));
  sum = Fma(sum, xx, Fill<Real>(-0x1.A01A019DB08B8p-13));
  sum = Fma(sum, xx, Fill<Real>(0x1.1111111110ECEp-7));
  sum = Fma(sum, xx, Fill<Real>(-0x1.5555555555555p-3));
  return x + Fma(xx, Fms(sum, x, 0.5 * dx), dx);
}

// sin(x) - x and 1 - cos(x) of what is left beside a row of the table, |x| < 1/256.
template <class Real>
Real SinePart(Real xx) {
  return Fma(Fill<Real>(8.33333214285722277379541354343671E-03), xx,
             Fill<Real>(-1.66666666666664880952546298448555E-01));
}
template <class Real>
Real CosinePart(Real xx) {
  Real sum = Fma(Fill<Real>(1.38888874007937613028114285595617E-03), xx,
                 Fill<Real>(-4.16666666666664434524222570944589E-02));
  sum = Fma(sum, xx, Fill<Real>(4.99999999999999999999950396842453E-01));
  return xx * sum;
}

template <class Real>
struct Columns {
  Real sine, sine_rest, cosine, cosine_rest;
};
inline Columns<double> RowsOf(double rounded) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &rounded, sizeof bits);
  const Row& row = kTable[bits % kRows];
  return {row.sine, row.sine_rest, row.cosine, row.cosine_rest};
}
inline Columns<Double4> RowsOf(Double4 rounded) {
  const Long4 at = (Long4)rounded & static_cast<long long>(kRows - 1);
  const Row* const table = kTable.data();
  const __m256d a = _mm256_load_pd(&table[at[0]].sine), b = _mm256_load_pd(&table[at[1]].sine);
  const __m256d c = _mm256_load_pd(&table[at[2]].sine), d = _mm256_load_pd(&table[at[3]].sine);
  const __m256d ab = _mm256_unpacklo_pd(a, b), ab_rest = _mm256_unpackhi_pd(a, b);
  const __m256d cd = _mm256_unpacklo_pd(c, d), cd_rest = _mm256_unpackhi_pd(c, d);
  return {(Double4)_mm256_permute2f128_pd(ab, cd, 0x20),
          (Double4)_mm256_permute2f128_pd(ab_rest, cd_rest, 0x20),
          (Double4)_mm256_permute2f128_pd(ab, cd, 0x31),
          (Double4)_mm256_permute2f128_pd(ab_rest, cd_rest, 0x31)};
}

// sin(x + dx) and cos(x + dx), |x| < 0.86 and dx its rest.
template <class Real>
Real SineNear(Real x, Real dx) {
  const Real size = Abs(x), rounded = kBig + size;
  const Real rest = size - (rounded - kBig), dr = Select(x <= 0, -dx, dx);
  const Columns<Real> row = RowsOf(rounded);
  const Real xx = rest * rest;
  const Real s = rest + Fma(rest * xx, SinePart(xx), dr);
  const Real c = Fma(rest, dr, CosinePart(xx));
  const Real correction =
      Fma(s, row.cosine, Fnma(c, row.sine, Fma(s, row.cosine_rest, row.sine_rest)));
  return Select(size < 0.126, SineSeries(x, dx), CopySign(row.sine + correction, x));
}
template <class Real>
Real CosineNear(Real x, Real dx) {
  const Real size = Abs(x), rounded = kBig + size;
  const Real rest = size - (rounded - kBig) + Select(x < 0, -dx, dx);
  const Columns<Real> row = RowsOf(rounded);
  const Real xx = rest * rest;
  const Real s = Fma(rest * xx, SinePart(xx), rest);
  const Real c = CosinePart(xx);
  const Real correction =
      Fnma(s, row.sine, Fnma(c, row.cosine, Fnma(s, row.sine_rest, row.cosine_rest)));
  return row.cosine + correction;
}

// An angle as a + da, |a| < 0.86, and a number of quarter turns.
template <class Real>
struct Reduced {
  Real a, da, quarters;  // Of the last, only the two lowest bits of its integer matter.
};
template <class Real>
Reduced<Real> Reduce(Real x) {
  const Real turns = Fma(x, Fill<Real>(0x1.45F306DC9C883p-1), Fill<Real>(kToInteger));
  const Real whole = turns - kToInteger;
  Real y = Fnma(whole, Fill<Real>(0x1.921FB58p0), x);
  y = Fnma(whole, Fill<Real>(-0x1.DDE973Cp-27), y);
  const Real third = Fill<Real>(-0x1.CB3B398p-55), fourth = Fill<Real>(-0x1.D747F23E32ED7p-83);
  const Real z = Fnma(whole, third, y);
  const Real dz = Fnma(whole, third, y - z);
  const Real a = Fnma(whole, fourth, z);
  return {a, dz + Fnma(whole, fourth, z - a), turns};
}

// Whether bit 0 or 1 of the integer in `quarters` plus `shift` is set.
inline bool Bit(double quarters, int shift, int bit) {
  std::int64_t bits = 0;
  std::memcpy(&bits, &quarters, sizeof bits);
  return ((bits + shift) >> bit & 1) != 0;
}
inline Long4 Bit(Double4 quarters, int shift, int bit) {
  return -((((Long4)quarters + shift) >> bit) & 1);
}

// sin(x + shift quarter turns) for 0.855 < |x| < 1.05e8.
template <class Real>
Real Turned(Real x, int shift) {
  const Reduced<Real> r = Reduce(x);
  const Real value = Select(Bit(r.quarters, shift, 0), CosineNear(r.a, r.da), SineNear(r.a, r.da));
  return Select(Bit(r.quarters, shift, 1), -value, value);
}

}  // namespace trigonometry

// glibc's sin and cos. Beyond 1e8, infinite or NaN: whatever the C library at hand says.
inline double Sin(double x) {
  using namespace trigonometry;
  const double size = Abs(x);
  if (size < kNear) return SineNear(x, 0.0);
  if (size < kMiddle) return CopySign(CosineNear(kHalfPi - size, kHalfPiRest), x);
  return size < kFar ? Turned(x, 0) : std::sin(x);
}
inline double Cos(double x) {
  using namespace trigonometry;
  const double size = Abs(x);
  if (size < kNear) return CosineNear(x, 0.0);
  if (size < kMiddle) {
    const double y = kHalfPi - size, a = y + kHalfPiRest;
    return SineNear(a, (y - a) + kHalfPiRest);
  }
  return size < kFar ? Turned(x, 1) : std::cos(x);
}
// Those of four numbers: the near ones together; the others one by one, or together where all are.
inline Double4 Sin(Double4 x) {
  using namespace trigonometry;
  const Double4 size = Abs(x);
  if (!Any(Not(size < kNear))) return SineNear(x, Fill<Double4>(0));
  if (Any(Not(size < kFar))) return Double4{Sin(x[0]), Sin(x[1]), Sin(x[2]), Sin(x[3])};
  const Double4 middle = CopySign(CosineNear(kHalfPi - size, Fill<Double4>(kHalfPiRest)), x);
  const Double4 result = Select(size < kNear, SineNear(x, Fill<Double4>(0)), middle);
  const Long4 turned = size >= kMiddle;
  return Any(turned) ? Select(turned, Turned(x, 0), result) : result;
}
inline Double4 Cos(Double4 x) {
  using namespace trigonometry;
  const Double4 size = Abs(x);
  if (!Any(Not(size < kNear))) return CosineNear(x, Fill<Double4>(0));
  if (Any(Not(size < kFar))) return Double4{Cos(x[0]), Cos(x[1]), Cos(x[2]), Cos(x[3])};
  const Double4 y = kHalfPi - size, a = y + kHalfPiRest;
  const Double4 result =
      Select(size < kNear, CosineNear(x, Fill<Double4>(0)), SineNear(a, (y - a) + kHalfPiRest));
  const Long4 turned = size >= kMiddle;
  return Any(turned) ? Select(turned, Turned(x, 1), result) : result;
}

// What Python's x ** 2 calls: pow(x, 2.0) of the C library, which rounds otherwise than x * x once
// in a thousand times; compilers that see the exponent make a product of it.
extern const double kTwo;
inline double PythonSquare(double x) { return std::pow(x, kTwo); }
inline Double4 PythonSquare(Double4 x) {
  return Double4{PythonSquare(x[0]), PythonSquare(x[1]), PythonSquare(x[2]), PythonSquare(x[3])};
}
// The same of a float32: powf.
inline double PythonSquareOfFloat(double x) {
  return static_cast<double>(std::pow(static_cast<float>(x), static_cast<float>(kTwo)));
}
inline Double4 PythonSquareOfFloat(Double4 x) {
  return Double4{PythonSquareOfFloat(x[0]), PythonSquareOfFloat(x[1]), PythonSquareOfFloat(x[2]),
                 PythonSquareOfFloat(x[3])};
}

}  // namespace muster::envs
