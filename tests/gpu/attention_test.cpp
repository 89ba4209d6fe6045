#include "tensor/kernels/attention.h"

#include <cmath>

#include "tensor/kernels/rotary.h"
#include "tests/support/gpu.h"

namespace muster {
namespace {

using testing::BackwardFrom;
using testing::RandomValues;

cuda::AttentionSizes SizesOf(const AttentionShape& shape) {
  const float scale =
      shape.scale != 0 ? shape.scale : 1.0F / std::sqrt(static_cast<float>(shape.head_dim));
  return {shape.heads, shape.kv_heads, shape.head_dim, scale, shape.window};
}

class GpuAttention : public testing::GpuTest {
 protected:
  template <class T>
  void CheckAgainstCpu(const AttentionShape& shape, const std::vector<std::int32_t>& starts);
  template <class T>
  void CheckDecode(const AttentionShape& shape, std::size_t tokens);
};

std::size_t LongestOf(const std::vector<std::int32_t>& starts) {
  std::int32_t longest = 0;
  for (std::size_t i = 1; i < starts.size(); ++i) {
    longest = std::max(longest, starts[i] - starts[i - 1]);
  }
  return static_cast<std::size_t>(longest);
}

template <class T>
void GpuAttention::CheckAgainstCpu(const AttentionShape& shape,
                                   const std::vector<std::int32_t>& starts) {
  SCOPED_TRACE("head_dim " + std::to_string(shape.head_dim) + ", window " +
               std::to_string(shape.window));
  constexpr DType kType = kDTypeOf<T>;
  const auto tokens = static_cast<std::size_t>(starts.back());
  const std::size_t in = tokens * shape.packed_width(), out = tokens * shape.width();
  const auto qkv = RandomValues<T>(in, 1), dout = RandomValues<T>(out, 2);
  Tape tape;
  tape.Begin({});
  const Tensor tx = tape.InputWithGradient({tokens, shape.packed_width()}, qkv.data());
  const Tensor ty = ops::CausalAttention(tape, tx, starts, shape);
  BackwardFrom(tape, ty, dout);
  T *const from = Upload(qkv), *const y = Room<T>(out), *const dx = Room<T>(in);
  auto* const statistics =
      reinterpret_cast<cuda::AttentionStatistics*>(Room<float>(2 * tokens * shape.heads));
  const auto* const places = Upload(starts);
  const std::size_t sequences = starts.size() - 1, longest = LongestOf(starts);
  Must(functions_->AttentionForward(
      stream_, {kType, SizesOf(shape), sequences, longest, places, from, y, statistics}));
  ExpectNear(y, ty.as<T>(), out, "out", 2e-5F);
  Must(functions_->AttentionBackward(
      stream_, {kType, SizesOf(shape), sequences, longest, tokens, places, from, y, Upload(dout),
                statistics, dx, false}));
  ExpectNear(dx, tx.gradient_as<T>(), in, "dqkv", kType == DType::kF32 ? 1e-4F : 3e-2F);
}

// Ragged sequences, an empty one and one of a single token among them, over tiles' borders.
MUSTER_TEST_BOTH_TYPES(GpuAttention, AgreesWithTheCpu) {
  CheckAgainstCpu<T>({.heads = 2, .kv_heads = 2, .head_dim = 16}, {0, 1, 1, 70, 135});
  CheckAgainstCpu<T>({.heads = 4, .kv_heads = 2, .head_dim = 40}, {0, 130, 131});
  CheckAgainstCpu<T>({.heads = 2, .kv_heads = 1, .head_dim = 64, .window = 20}, {0, 150});
  CheckAgainstCpu<T>({.heads = 3, .kv_heads = 1, .head_dim = 72, .window = 65}, {0, 5, 140});
  CheckAgainstCpu<T>({.heads = 1, .kv_heads = 1, .head_dim = 129}, {0, 65});
  // A tile's last key is just seen, or just not, by the first query of another tile.
  for (const std::size_t window : {1, 2, 65, 66}) {
    CheckAgainstCpu<T>({.heads = 2, .kv_heads = 1, .head_dim = 8, .window = window}, {0, 200});
  }
}

template <class T>
void GpuAttention::CheckDecode(const AttentionShape& shape, std::size_t tokens) {
  SCOPED_TRACE("head_dim " + std::to_string(shape.head_dim));
  constexpr DType kType = kDTypeOf<T>;
  const std::size_t row = shape.packed_width(), width = shape.width();
  const auto qkv = RandomValues<T>(tokens * row, 3);
  const T* const from = Upload(qkv);
  T *const whole = Room<T>(tokens * width), *const one = Room<T>(width);
  const auto* const places = Upload(std::vector<std::int32_t>{0, static_cast<int>(tokens)});
  Must(functions_->AttentionForward(
      stream_, {kType, SizesOf(shape), 1, tokens, places, from, whole, nullptr}));
  const std::vector<T> expected = Download(whole, tokens * width);
  std::vector<void*> pages;
  for (std::size_t begin = 0; begin < tokens; begin += kAttentionTile) {
    pages.push_back(Room<T>(2 * shape.kv_heads * kAttentionTile * shape.head_dim));
  }
  void** const table = Upload(pages);
  auto* const slot = Room<std::int32_t>(1);
  auto* const length = Room<std::int32_t>(1);
  for (std::size_t token = 0; token < tokens; ++token) {
    SCOPED_TRACE(token);
    const auto place = static_cast<std::int32_t>(token % kAttentionTile);
    const auto count = static_cast<std::int32_t>(token + 1);
    Must(functions_->Copy(stream_, slot, &place, sizeof(place)));
    Must(functions_->Copy(stream_, length, &count, sizeof(count)));
    Must(functions_->AppendToPages(stream_, {kType, SizesOf(shape), 1, from + token * row,
                                             table + token / kAttentionTile, slot}));
    Must(functions_->DecodeAttention(
        stream_, {kType, SizesOf(shape), 1, pages.size(), from + token * row, table, length, one}));
    ExpectSameBits(one, expected.data() + token * width, width, "out");
  }
}

MUSTER_TEST_BOTH_TYPES(GpuAttention, ATokenHasTheSameBitsInOnePassAndTokenByToken) {
  CheckDecode<T>({.heads = 4, .kv_heads = 2, .head_dim = 24}, 130);
  CheckDecode<T>({.heads = 1, .kv_heads = 1, .head_dim = 80, .window = 50}, 140);
}

// Both pairings, with numbers of a head that are not turned, there and back.
MUSTER_TEST_BOTH_TYPES(GpuAttention, RotaryHasTheBitsOfTheCpu) {
  constexpr std::size_t kTokens = 9, kDims = 6;
  const AttentionShape shape{.heads = 4, .kv_heads = 2, .head_dim = 10};
  const std::size_t count = kTokens * shape.packed_width();
  const auto qkv = RandomValues<T>(count, 4), dy = RandomValues<T>(count, 5);
  const std::vector<std::int32_t> positions = {0, 1, 2, 0, 40, 41, 42, 7, 7};
  for (const auto pairing : {RotaryPairing::kHalves, RotaryPairing::kNeighbours}) {
    RotaryOptions options;
    options.dims = kDims;
    options.pairing = pairing;
    const RotaryTable table(options, 50);
    const std::vector<float> turns(table.cosines(0), table.cosines(0) + 50 * kDims);
    Tape tape;
    tape.Begin({});
    const Tensor tx = tape.InputWithGradient({kTokens, shape.packed_width()}, qkv.data());
    const Tensor ty = ops::Rotary(tape, tx, positions, shape, table);
    BackwardFrom(tape, ty, dy);
    T *const y = Room<T>(count), *const dx = Room<T>(count);
    cuda::RotaryArgs args{kDTypeOf<T>,
                          SizesOf(shape),
                          kTokens,
                          kDims,
                          pairing == RotaryPairing::kNeighbours,
                          false,
                          Upload(positions),
                          Upload(turns),
                          Upload(qkv),
                          y,
                          false};
    Must(functions_->Rotary(stream_, args));
    ExpectSameBits(y, ty.as<T>(), count, "y");
    args.back = true;
    args.x = Upload(dy);
    args.y = dx;
    Must(functions_->Rotary(stream_, args));
    ExpectSameBits(dx, tx.gradient_as<T>(), count, "dx");
  }
}

TEST_F(GpuAttention, RefusesAHeadThatIsTooLarge) {
  cuda::AttentionForwardArgs args;
  args.sizes.head_dim = 257;
  const cuda::Outcome outcome = functions_->AttentionForward(stream_, args);
  EXPECT_EQ(outcome.code, cuda::kBrokenContract);
  EXPECT_NE(std::string(outcome.text).find("at most 256"), std::string::npos);
}

}  // namespace
}  // namespace muster
