#include "tensor/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"

namespace muster {

namespace {
thread_local bool inside_body = false;
}  // namespace

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable start, done;
  std::uint64_t generation = 0;  // Increases with every ParallelFor.
  std::size_t busy = 0;          // Helpers that have not finished this generation.
  bool stop = false;

  BlockFunction function = nullptr;
  const void* context = nullptr;
  std::size_t blocks = 0;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> running{false};
  std::exception_ptr failure;

  std::vector<std::thread> helpers;

  void TakeBlocks() {
    inside_body = true;
    for (std::size_t block = next.fetch_add(1); block < blocks; block = next.fetch_add(1)) {
      try {
        function(context, block);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    }
    inside_body = false;
  }

  void Help() {
    std::uint64_t seen = 0;
    std::unique_lock lock(mutex);
    for (;;) {
      start.wait(lock, [&] { return stop || generation != seen; });
      if (stop) return;
      seen = generation;
      lock.unlock();
      TakeBlocks();
      lock.lock();
      if (--busy == 0) done.notify_one();
    }
  }
};

ThreadPool::ThreadPool(std::size_t threads) : state_(std::make_unique<State>()) {
  MUSTER_CHECK(threads >= 1, "a thread pool has at least the calling thread");
  for (std::size_t i = 1; i < threads; ++i) {
    state_->helpers.emplace_back([state = state_.get()] { state->Help(); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->start.notify_all();
  for (std::thread& helper : state_->helpers) helper.join();
}

std::size_t ThreadPool::threads() const { return state_->helpers.size() + 1; }

void ThreadPool::Run(std::size_t blocks, BlockFunction function, const void* context) {
  State& state = *state_;
  if (inside_body || state.helpers.empty() || blocks <= 1) {
    for (std::size_t block = 0; block < blocks; ++block) function(context, block);
    return;
  }
  MUSTER_CHECK(!state.running.exchange(true), "two threads called ParallelFor of one pool at once");
  {
    const std::lock_guard lock(state.mutex);
    state.function = function;
    state.context = context;
    state.blocks = blocks;
    state.next = 0;
    state.failure = nullptr;
    state.busy = state.helpers.size();
    ++state.generation;
  }
  state.start.notify_all();
  state.TakeBlocks();
  std::exception_ptr failure;
  {
    std::unique_lock lock(state.mutex);
    state.done.wait(lock, [&] { return state.busy == 0; });
    failure = state.failure;
  }
  state.running = false;
  if (failure) std::rethrow_exception(failure);
}

}  // namespace muster
