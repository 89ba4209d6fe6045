#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

// A thread has one block of Philox: up to four neighbouring elements. The first element may be any
// word of its block.
template <class T>
void DropoutOf(Stream& stream, const DropoutArgs& args) {
  const T* const x = As<T>(args.x);
  T* const y = As<T>(args.y);
  const std::size_t count = args.count, skipped = args.key.index % 4;
  const RandomKey key = args.key;
  const std::uint32_t least = args.least;
  const float scale = args.scale;
  const bool accumulate = args.accumulate;
  ForEach(stream, count == 0 ? 0 : (skipped + count + 3) / 4, [=] __device__(std::size_t block) {
    RandomKey at = key;
    at.index = key.index / 4 + block;
    const PhiloxBlock words = RandomBlock(at);
    for (std::size_t word = 0; word < 4; ++word) {
      const std::size_t place = 4 * block + word;  // Of the element, counted from a block's begin.
      if (place < skipped || place - skipped >= count) continue;
      const std::size_t i = place - skipped;
      const float kept = ToFloat(x[i]) * scale;
      Put(y[i], words[word] < least ? 0.0F : kept, accumulate);
    }
  });
}

}  // namespace

void Dropout(Stream& stream, const DropoutArgs& args) {
  MUSTER_BY_TYPE(args.type, DropoutOf, stream, args);
}

}  // namespace muster::cuda
