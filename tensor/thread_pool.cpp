#include "tensor/thread_pool.h"

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"

namespace muster {

namespace {

thread_local bool inside_body = false;

std::size_t NodeOf(int core) {
  std::error_code none;
  const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(core);
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("node")) return std::strtoul(name.c_str() + 4, nullptr, 10);
  }
  return 0;
}

// The cores that this thread may run on, those of one NUMA node together: the first ones share
// their memory with the caller as long as they suffice.
std::vector<int> CoresByNode() {
  cpu_set_t set;
  std::vector<int> cores;
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  const std::size_t own = NodeOf(std::max(::sched_getcpu(), 0));
  std::map<int, std::pair<bool, std::size_t>> place;
  for (const int core : cores) place[core] = {NodeOf(core) != own, NodeOf(core)};
  std::stable_sort(cores.begin(), cores.end(), [&](int a, int b) { return place[a] < place[b]; });
  return cores;
}

// As far as the system lets it.
void Pin(std::thread& thread, int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(core), &set);
  static_cast<void>(::pthread_setaffinity_np(thread.native_handle(), sizeof(set), &set));
}

}  // namespace

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable start, done;
  std::atomic<std::uint64_t> generation{0};  // Increases with every ParallelFor, under mutex.
  std::atomic<std::size_t> busy{0};          // Helpers that have not finished this generation.
  std::size_t asleep = 0;                    // Helpers that wait for `start`; under mutex.
  std::atomic<bool> caller_sleeps{false};
  std::atomic<bool> stop{false};
  int spins = 0;  // Looks at what is waited for before a thread goes to sleep.

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

  // True as soon as `condition` is, false when it was not for a while.
  template <class Condition>
  bool Spin(const Condition& condition) const {
    for (int i = 0; i < spins; ++i) {
      if (condition()) return true;
      _mm_pause();
    }
    return condition();
  }

  void Help() {
    std::uint64_t seen = 0;
    const auto called = [&] { return stop || generation != seen; };
    for (;;) {
      if (!Spin(called)) {
        std::unique_lock lock(mutex);
        ++asleep;
        start.wait(lock, called);
        --asleep;
      }
      if (stop) return;
      seen = generation;
      TakeBlocks();
      if (busy.fetch_sub(1) == 1 && caller_sleeps) {
        const std::lock_guard lock(mutex);
        done.notify_one();
      }
    }
  }

  void AwaitHelpers() {
    const auto finished = [&] { return busy == 0; };
    if (Spin(finished)) return;
    std::unique_lock lock(mutex);
    caller_sleeps = true;
    done.wait(lock, finished);
    caller_sleeps = false;
  }
};

ThreadPool::ThreadPool(std::size_t threads) : state_(std::make_unique<State>()) {
  MUSTER_CHECK(threads >= 1, "a thread pool has at least the calling thread");
  const std::vector<int> cores = CoresByNode();
  // With a core for each thread one that waits takes nothing from the others: ops follow each other
  // within microseconds, and waking a thread takes longer than that.
  const bool own_cores = threads <= cores.size();
  constexpr int kSpins = 2'000;
  state_->spins = own_cores ? kSpins : 0;
  for (std::size_t i = 1; i < threads; ++i) {
    state_->helpers.emplace_back([state = state_.get()] { state->Help(); });
    if (own_cores) Pin(state_->helpers.back(), cores[i]);
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
    if (state.asleep > 0) state.start.notify_all();
  }
  state.TakeBlocks();
  state.AwaitHelpers();
  std::exception_ptr failure;
  {
    const std::lock_guard lock(state.mutex);
    failure = state.failure;
  }
  state.running = false;
  if (failure) std::rethrow_exception(failure);
}

}  // namespace muster
