#include "tensor/kernels/rotary.h"

#include <cmath>
#include <cstring>
#include <numbers>
#include <string>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/put_part.h"

namespace muster {
namespace {

constexpr std::size_t kPart = 512;  // Numbers that are in f32 at once; also the largest head.

double Stretched(double frequency, const Llama3Scaling& scaling) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double filled = scaling.original_context / wavelength;
  if (filled > scaling.high_frequency_factor) return frequency;
  if (filled < scaling.low_frequency_factor) return frequency / scaling.factor;
  const double kept = (filled - scaling.low_frequency_factor) /
                      (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return (1 - kept) * frequency / scaling.factor + kept * frequency;
}

// The way there in the forward pass, back in the backward pass: the turn's transpose.
enum class Way : std::uint8_t { kForward, kBack };

// One head, in f32, in place.
template <Way kWay>
void TurnHalves(float* head, const float* cosines, const float* sines, std::size_t pairs) {
  float* const other = head + pairs;
  for (std::size_t i = 0; i < pairs; ++i) {
    const float a = head[i], b = other[i];
    const float sine = kWay == Way::kForward ? sines[i] : -sines[i];
    head[i] = a * cosines[i] - b * sine;
    other[i] = b * cosines[i] + a * sine;
  }
}

template <Way kWay>
void TurnNeighbours(float* head, const float* cosines, const float* sines, std::size_t pairs) {
  for (std::size_t i = 0; i < pairs; ++i) {
    const float a = head[2 * i], b = head[2 * i + 1];
    const float sine = kWay == Way::kForward ? sines[i] : -sines[i];
    head[2 * i] = a * cosines[i] - b * sine;
    head[2 * i + 1] = b * cosines[i] + a * sine;
  }
}

struct Turn {
  std::span<const std::int32_t> positions;
  AttentionShape shape;
  const RotaryTable* table;

  // Token t: `from` and `to` are its packed rows; they may be the same.
  template <Way kWay, class T>
  void Token(std::size_t t, const T* from, const GradientSink<T>& to) const {
    const RotaryOptions& options = table->options();
    const auto position = static_cast<std::size_t>(positions[t]);
    const float *const cosines = table->cosines(position), *const sines = table->sines(position);
    const std::size_t pairs = options.dims / 2;
    float part[kPart];
    const std::size_t turned = (shape.heads + shape.kv_heads) * shape.head_dim;
    const std::size_t heads_at_once = kPart / shape.head_dim;
    for (std::size_t at = 0; at < turned;) {
      const std::size_t count = std::min(turned - at, heads_at_once * shape.head_dim);
      kernels::Convert(from + at, part, count);
      for (std::size_t head = 0; head < count; head += shape.head_dim) {
        if (options.pairing == RotaryPairing::kHalves) {
          TurnHalves<kWay>(part + head, cosines, sines, pairs);
        } else {
          TurnNeighbours<kWay>(part + head, cosines, sines, pairs);
        }
      }
      kernels::PutPart(to, at, part, count);
      at += count;
    }
    const std::size_t values = shape.kv_heads * shape.head_dim;
    if (!to.accumulate) {
      std::memcpy(to.data + turned, from + turned, values * sizeof(T));
      return;
    }
    for (std::size_t i = turned; i < turned + values; ++i) {
      to.data[i] = T(ToFloat(to.data[i]) + ToFloat(from[i]));
    }
  }

  template <Way kWay, class T>
  void All(ThreadPool* pool, const T* from, const GradientSink<T>& to) const {
    const std::size_t row = shape.packed_width();
    kernels::ForBlocks(
        pool, positions.size(), kernels::RowsPerBlock(row),
        [&](std::size_t begin, std::size_t count) {
          for (std::size_t t = begin; t < begin + count; ++t) {
            Token<kWay>(t, from + t * row, GradientSink<T>{to.data + t * row, to.accumulate});
          }
        });
  }
};

template <class T>
struct RotaryNode {
  Tensor qkv;
  Turn turn;

  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor<T>(qkv);
    if (sink.data != nullptr) turn.All<Way::kBack>(tape.pool(), dy, sink);
  }
};

}  // namespace

RotaryTable::RotaryTable(const RotaryOptions& options, std::size_t positions)
    : options_(options), positions_(positions) {
  MUSTER_CHECK(options.dims % 2 == 0 && options.dims > 0,
               "rotary embedding of " + std::to_string(options.dims) + " numbers: an even count");
  MUSTER_CHECK(options.base > 0, "rotary embedding with a base that is not above 0");
  const std::size_t pairs = options.dims / 2;
  for (std::size_t i = 0; i < pairs; ++i) {
    const double share = static_cast<double>(2 * i) / static_cast<double>(options.dims);
    // Models are trained with frequencies rounded to f32 before and after they are stretched.
    double frequency = static_cast<double>(static_cast<float>(std::pow(options.base, -share)));
    if (options.llama3) frequency = Stretched(frequency, *options.llama3);
    frequencies_.push_back(static_cast<float>(frequency));
  }
  turns_.resize(positions * options.dims);
  for (std::size_t position = 0; position < positions; ++position) {
    float* const turns = &turns_[position * options.dims];
    for (std::size_t i = 0; i < pairs; ++i) {
      const float angle = static_cast<float>(position) * frequencies_[i];
      turns[i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      turns[pairs + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
}

std::vector<std::int32_t> PositionsOf(std::span<const std::int32_t> starts) {
  std::vector<std::int32_t> positions;
  for (std::size_t s = 0; s + 1 < starts.size(); ++s) {
    for (std::int32_t t = starts[s]; t < starts[s + 1]; ++t) positions.push_back(t - starts[s]);
  }
  return positions;
}

namespace ops {

Tensor Rotary(Tape& tape, Tensor qkv, std::span<const std::int32_t> positions,
              const AttentionShape& shape, const RotaryTable& table) {
  MUSTER_CHECK(qkv.shape() == Shape({positions.size(), shape.packed_width()}),
               "qkv " + qkv.shape().ToString() + " for " + std::to_string(positions.size()) +
                   " tokens of " + std::to_string(shape.packed_width()));
  MUSTER_CHECK(table.options().dims <= shape.head_dim && shape.head_dim <= kPart,
               "heads of " + std::to_string(shape.head_dim) + " numbers, of which " +
                   std::to_string(table.options().dims) + " turn");
  for (const std::int32_t position : positions) {
    MUSTER_CHECK(position >= 0 && static_cast<std::size_t>(position) < table.positions(),
                 "position " + std::to_string(position) + " of a rotary table for " +
                     std::to_string(table.positions()));
  }
  return Dispatch(qkv.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(qkv.shape(), kDTypeOf<T>);
    const Turn turn{positions, shape, &table};
    turn.All<Way::kForward>(tape.pool(), qkv.as<T>(), GradientSink<T>{y.as<T>(), false});
    if (tape.Records({qkv})) tape.Record(y, {qkv}, RotaryNode<T>{qkv, turn});
    return y;
  });
}

}  // namespace ops
}  // namespace muster
