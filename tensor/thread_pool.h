// A fixed set of threads that share the blocks of one operation.
//
// With a core for each thread the helpers are pinned, those of the caller's NUMA node first, and
// wait for work without sleeping for some microseconds. The caller stays where the system puts it:
// threads that it starts would inherit its core.
//
// Which thread computes a block is left to chance; what a block is never depends on the number of
// threads, and blocks write to places of their own. So results have the same bits on any number.
#pragma once

#include <cstddef>
#include <memory>

namespace muster {

class ThreadPool {
 public:
  // `threads` >= 1 counts the calling thread: 1 starts no thread at all.
  explicit ThreadPool(std::size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t threads() const;

  // Calls body(block) once for each block in [0, blocks) and returns when all have ended. One
  // caller at a time. A call from inside a body runs its blocks inline. The first exception of a
  // body is rethrown here, after all blocks have ended.
  template <class Body>
  void ParallelFor(std::size_t blocks, const Body& body) {
    Run(
        blocks,
        [](const void* context, std::size_t block) { (*static_cast<const Body*>(context))(block); },
        &body);
  }

 private:
  using BlockFunction = void (*)(const void* context, std::size_t block);
  void Run(std::size_t blocks, BlockFunction function, const void* context);

  struct State;
  std::unique_ptr<State> state_;
};

// With a null pool every block runs on the calling thread, in order.
template <class Body>
void ParallelFor(ThreadPool* pool, std::size_t blocks, const Body& body) {
  if (pool != nullptr && blocks > 1) {
    pool->ParallelFor(blocks, body);
  } else {
    for (std::size_t block = 0; block < blocks; ++block) body(block);
  }
}

}  // namespace muster
