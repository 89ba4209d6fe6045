// The library's entry: its table, and devices, streams and memory.
#include <cstdio>
#include <cstring>
#include <string>

#include "tensor/cuda/function_table.h"
#include "tensor/cuda/op_functions.cuh"
#include "tensor/cuda/stream.cuh"
#include "tensor/cuda/vendor.h"

namespace muster::cuda {

Stream::Stream(int device) : device_(device) {
  Check(cudaSetDevice(device), "choose the device");
  Check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "make a stream");
  // Freed memory stays with the process: the next step wants it again.
  cudaMemPool_t pool = nullptr;
  Check(cudaDeviceGetDefaultMemPool(&pool, device), "find the memory pool");
  std::uint64_t keep = ~std::uint64_t{0};
  Check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep),
        "keep the pool's memory");
}

Stream::~Stream() {
  cudaStreamSynchronize(handle_);
  blas_.reset();
  dnn_.reset();
  cudaStreamDestroy(handle_);
}

void* Stream::ScratchBytes(std::size_t bytes) {
  void* memory = nullptr;
  Check(cudaMallocAsync(&memory, bytes > 0 ? bytes : 1, handle_), "take scratch memory");
  scratch_.push_back(memory);
  return memory;
}

void Stream::FreeScratch() {
  for (void* const memory : scratch_) cudaFreeAsync(memory, handle_);
  scratch_.clear();
}

namespace {

// What an Outcome's text points to.
thread_local std::string last_text;

Outcome Failed(int code, const char* text) {
  last_text = text;
  return {code, last_text.c_str()};
}

template <class Body>
Outcome Try(const Body& body) noexcept {
  try {
    body();
    return {};
  } catch (const CudaError& error) {
    return Failed(error.code(), error.what());
  } catch (const std::exception& error) {
    return Failed(kBrokenContract, error.what());
  }
}

// On the stream's device; scratch memory is given back whatever happens.
template <class Body>
Outcome On(Stream* stream, const Body& body) noexcept {
  const Outcome outcome = Try([&] {
    Check(cudaSetDevice(stream->device()), "choose the device");
    body(*stream);
  });
  stream->FreeScratch();
  return outcome;
}

template <class Args, void (*kFunction)(Stream&, const Args&)>
Outcome Call(Stream* stream, const Args& args) noexcept {
  return On(stream, [&](Stream& on) { kFunction(on, args); });
}

Outcome CountDevices(std::int32_t* count) noexcept {
  return Try([&] {
    int devices = 0;  // Left untouched where there is no driver.
    const cudaError_t error = cudaGetDeviceCount(&devices);
    *count = error == cudaSuccess ? devices : 0;
    Check(error, "count devices");
  });
}

Outcome NameDevice(std::int32_t device, char* name, std::size_t bytes) noexcept {
  return Try([&] {
    cudaDeviceProp properties{};
    Check(cudaGetDeviceProperties(&properties, device), "ask for a device's name");
    std::snprintf(name, bytes, "%s", properties.name);
  });
}

Outcome MemoryOfDevice(std::int32_t device, MemoryInfo* info) noexcept {
  return Try([&] {
    Check(cudaSetDevice(device), "choose the device");
    Check(cudaMemGetInfo(&info->free_bytes, &info->total_bytes), "ask for a device's memory");
  });
}

Outcome TellVersions(char* text, std::size_t bytes) noexcept {
  return Try([&] {
    int runtime = 0, driver = 0;
    Check(cudaRuntimeGetVersion(&runtime), "ask for CUDA's version");
    Check(cudaDriverGetVersion(&driver), "ask for the driver's version");
    std::snprintf(text, bytes, "CUDA %d.%d, driver %d.%d, %s", runtime / 1000, runtime % 100 / 10,
                  driver / 1000, driver % 100 / 10, VendorVersions().c_str());
  });
}

Outcome MakeStream(std::int32_t device, Stream** stream) noexcept {
  return Try([&] { *stream = new Stream(device); });
}

Outcome EndStream(Stream* stream) noexcept {
  return Try([&] { delete stream; });
}

Outcome WaitFor(Stream* stream) noexcept {
  return On(stream, [](Stream& on) {
    Check(cudaStreamSynchronize(on.handle()), "wait for the device's work");
  });
}

Outcome TakeMemory(Stream* stream, std::size_t bytes, void** memory) noexcept {
  return On(stream, [&](Stream& on) {
    const std::string what = "take " + std::to_string(bytes) + " bytes of the device's memory";
    Check(cudaMallocAsync(memory, bytes > 0 ? bytes : 1, on.handle()), what.c_str());
  });
}

Outcome GiveMemory(Stream* stream, void* memory) noexcept {
  return On(stream, [&](Stream& on) { Check(cudaFreeAsync(memory, on.handle()), "free memory"); });
}

Outcome CopyBytes(Stream* stream, void* to, const void* from, std::size_t bytes) noexcept {
  return On(stream, [&](Stream& on) {
    Check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, on.handle()), "copy memory");
  });
}

Outcome FillBytes(Stream* stream, void* memory, std::size_t bytes) noexcept {
  return On(stream, [&](Stream& on) {
    Check(cudaMemsetAsync(memory, 0, bytes, on.handle()), "fill memory with zeros");
  });
}

CudaFunctions MakeTable() {
  CudaFunctions table;
  table.DeviceCount = CountDevices;
  table.DeviceName = NameDevice;
  table.DeviceMemory = MemoryOfDevice;
  table.Versions = TellVersions;
  table.CreateStream = MakeStream;
  table.DestroyStream = EndStream;
  table.Synchronize = WaitFor;
  table.Allocate = TakeMemory;
  table.Free = GiveMemory;
  table.Copy = CopyBytes;
  table.FillZero = FillBytes;
#define MUSTER_CUDA_FILL(name, Args) table.name = Call<Args, name>;
  MUSTER_CUDA_OPS(MUSTER_CUDA_FILL)
#undef MUSTER_CUDA_FILL
  return table;
}

}  // namespace

extern "C" const CudaFunctions* MusterCudaFunctions() {
  static const CudaFunctions kTable = MakeTable();
  return &kTable;
}

}  // namespace muster::cuda
