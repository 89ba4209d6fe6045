#include "tensor/kernels/dropout.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/philox_words.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Blocks and Philox.

struct Fate {
  RandomKey key;
  std::uint32_t least;  // Words from here on keep their element.
  float scale;
};

// to[i] (+)= from[i] * scale where i is kept, 0 where not, whatever from[i] is.
template <class T>
void Apply(ThreadPool* pool, const Fate& fate, const T* from, T* to, std::size_t count,
           bool accumulate) {
  ForBlocks(pool, count, kElementBlock, [&](std::size_t begin, std::size_t n) {
    std::uint32_t words[kPhiloxWords];
    const std::size_t end = begin + n;
    for (std::size_t at = begin; at < end;) {
      const std::uint64_t number = fate.key.index + at;
      const std::size_t skipped = number % 4, part = std::min(kPhiloxWords - skipped, end - at);
      FillPhilox(fate.key, number / 4, words);
      const std::uint32_t* const word = words + skipped;
      for (std::size_t i = 0; i < part; ++i) {
        const float kept = ToFloat(from[at + i]) * fate.scale;
        const float value = word[i] < fate.least ? 0.0F : kept;
        to[at + i] = T(accumulate ? ToFloat(to[at + i]) + value : value);
      }
      at += part;
    }
  });
}

template <class T>
struct DropoutNode {
  Tensor x;
  Fate fate;
  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor<T>(x);
    Apply(tape.pool(), fate, dy, sink.data, x.elements(), sink.accumulate);
  }
};

}  // namespace

Tensor Dropout(Tape& tape, Tensor x, float probability, const RandomKey& key) {
  MUSTER_CHECK(probability >= 0 && probability < 1,
               "dropout with probability " + std::to_string(probability));
  if (tape.inference() || probability == 0) return x;
  // Exact: the probability has 24 bits, and is below 1.
  const Fate fate{key, static_cast<std::uint32_t>(static_cast<double>(probability) * 4294967296.0),
                  static_cast<float>(1.0 / (1.0 - static_cast<double>(probability)))};
  return Dispatch(x.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(x.shape(), kDTypeOf<T>);
    Apply(tape.pool(), fate, x.as<T>(), y.as<T>(), x.elements(), false);
    if (tape.Records({x})) tape.Record(y, {x}, DropoutNode<T>{x, fate});
    return y;
  });
}

}  // namespace muster::ops
