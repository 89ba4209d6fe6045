// The adapter to oneDNN: cached primitives that run on the calling thread alone.
//
// Every thread has its own stream, scratchpad and cache, because Debian's build gives silently
// wrong results when two threads share a scratchpad, and so that nothing here takes a lock.
// oneDNN's exceptions end here: std::bad_alloc for lack of memory, otherwise a failed check.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "dnnl.hpp"

namespace muster::kernels {

// A primitive with its argument memories; the pointers are set at each run.
struct CachedPrimitive {
  dnnl::primitive primitive;
  std::unordered_map<int, dnnl::memory> arguments;
  std::size_t packed_bytes = 0;  // Of the packed weights, for convolutions.
};

class OneDnn {
 public:
  // What a primitive is: kind, shapes, strides. Unused places are zero.
  using Key = std::array<std::int64_t, 15>;

  static OneDnn& ThisThread();

  const dnnl::engine& engine() const;

  // Attributes with the scratchpad in the user's hands.
  static dnnl::primitive_attr Attributes();

  // The primitive of `key`, made by `make` at the first call on this thread.
  template <class Make>
  CachedPrimitive& Find(const Key& key, const Make& make) {
    const auto found = cache_.find(key);
    if (found != cache_.end()) return *found->second;
    return Insert(key, make);
  }

  // Memory of `desc` with the pointer left open.
  dnnl::memory Open(const dnnl::memory::desc& desc) const;
  // The scratchpad argument for a primitive.
  void AddScratchpad(CachedPrimitive& primitive, const dnnl::memory::desc& desc);

  // Runs it with these pointers (DNNL_ARG_..., pointer); blocks until it is done.
  void Run(CachedPrimitive& primitive, std::initializer_list<std::pair<int, const void*>> pointers);

  // A buffer of this thread, valid until the next call with the same slot.
  static constexpr std::size_t kScratchSlots = 6;
  template <class T>
  T* Scratch(std::size_t slot, std::size_t count) {
    return static_cast<T*>(scratch_.at(slot).AtLeast(count * sizeof(T)));
  }

 private:
  OneDnn();
  CachedPrimitive& Insert(const Key& key, const std::function<CachedPrimitive()>& make);

  struct Buffer {
    struct Free {
      void operator()(std::byte* memory) const;
    };
    std::unique_ptr<std::byte[], Free> memory;
    std::size_t bytes = 0;
    void* AtLeast(std::size_t wanted);
  };

  dnnl::stream stream_;
  std::map<Key, std::unique_ptr<CachedPrimitive>> cache_;
  Buffer scratchpad_;
  std::array<Buffer, kScratchSlots> scratch_;
};

}  // namespace muster::kernels
