#include <cuda_runtime.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace muster::cuda_on_cpu {

namespace {

constexpr std::size_t kStackBytes = 128 * 1024;
constexpr unsigned kWarp = 32;

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kReturned };

struct Fiber {
  ucontext_t context{};
  std::vector<char> stack = std::vector<char>(kStackBytes);
  State state = State::kReturned;
  std::uint64_t shuffled = 0;
};

ucontext_t scheduler;
std::vector<Fiber> fibers;
unsigned running = 0;
const std::function<void()>* kernel_body = nullptr;

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "kernel on the CPU: %s (block %u, thread %u)\n", what, blockIdx.x, running);
  std::abort();
}

void Yield(State state) {
  fibers[running].state = state;
  swapcontext(&fibers[running].context, &scheduler);
}

void FiberMain() {
  (*kernel_body)();
  fibers[running].state = State::kReturned;
  swapcontext(&fibers[running].context, &scheduler);
}

void Resume(unsigned thread) {
  running = thread;
  threadIdx = dim3(thread, 0, 0);
  swapcontext(&scheduler, &fibers[thread].context);
}

// Whether all of [begin, end) wait at `barrier`; they go on then. If some do and others have
// returned, they would wait for ever.
bool Release(unsigned begin, unsigned end, State barrier) {
  unsigned waiting = 0, returned = 0;
  for (unsigned t = begin; t < end; ++t) {
    waiting += fibers[t].state == barrier ? 1 : 0;
    returned += fibers[t].state == State::kReturned ? 1 : 0;
  }
  if (waiting > 0 && returned > 0 && waiting + returned == end - begin) {
    Fail("some threads have returned where others wait");
  }
  if (waiting < end - begin) return false;
  for (unsigned t = begin; t < end; ++t) fibers[t].state = State::kReady;
  return true;
}

// Lets every thread of the warp run to its next barrier; false if none could.
bool RunWarp(unsigned warp, bool descending) {
  bool progress = false;
  for (unsigned i = 0; i < kWarp; ++i) {
    const unsigned t = warp + (descending ? kWarp - 1 - i : i);
    if (fibers[t].state != State::kReady) continue;
    Resume(t);
    progress = true;
  }
  Release(warp, warp + kWarp, State::kAtWarpBarrier);
  return progress;
}

void RunBlock(unsigned threads) {
  for (unsigned t = 0; t < threads; ++t) {
    Fiber& fiber = fibers[t];
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, FiberMain, 0);
    fiber.state = State::kReady;
  }
  for (bool descending = false;; descending = !descending) {
    // Each warp goes as far as it can before the next one starts.
    bool progress = false;
    for (unsigned i = 0; i < threads; i += kWarp) {
      const unsigned warp = descending ? threads - kWarp - i : i;
      while (RunWarp(warp, descending)) progress = true;
    }
    unsigned left = 0;
    for (unsigned t = 0; t < threads; ++t) left += fibers[t].state != State::kReturned ? 1 : 0;
    if (left == 0) return;
    if (!Release(0, threads, State::kAtBlockBarrier) && !progress) {
      Fail("threads wait at different barriers");
    }
  }
}

}  // namespace

void BlockBarrier() { Yield(State::kAtBlockBarrier); }

std::uint64_t ShuffleXor(std::uint64_t bits, unsigned mask) {
  const unsigned self = running;
  fibers[self].shuffled = bits;
  Yield(State::kAtWarpBarrier);
  const std::uint64_t result = fibers[self ^ mask].shuffled;
  Yield(State::kAtWarpBarrier);
  return result;
}

void RunKernel(dim3 grid, unsigned threads, const std::function<void()>& body) {
  if (threads % kWarp != 0) Fail("a block is not of whole warps");
  if (fibers.size() < threads) fibers.resize(threads);
  kernel_body = &body;
  gridDim = grid;
  blockDim = dim3(threads);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        RunBlock(threads);
      }
    }
  }
}

}  // namespace muster::cuda_on_cpu

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::snprintf(properties->name, sizeof(properties->name), "kernels on the CPU");
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *free_bytes = *total_bytes = std::size_t{1} << 30U;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }

cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t) {
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xFF, bytes);  // NaN, whoever reads what nobody wrote.
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, int, cudaStream_t) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t) {
  if (bytes > 0) std::memset(memory, value, bytes);
  return cudaSuccess;
}
