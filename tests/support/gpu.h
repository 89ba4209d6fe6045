// What tests of CUDA kernels share: the table under test, memory of the device, and comparisons
// with the CPU's op.
//
// The same tests are two programs: gpu_test calls libmuster_cuda.so on a GPU and skips where there
// is none; cuda_on_cpu_test calls the same kernels compiled for the CPU (support/cuda_on_cpu/).
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/autograd/tape.h"
#include "tensor/cuda/function_table.h"
#include "tensor/kernels/elementwise.h"

namespace muster::testing {

// An error says why there is nothing to test.
Result<const cuda::CudaFunctions*> FunctionsUnderTest();

// Normal numbers.
template <class T>
std::vector<T> RandomValues(std::size_t count, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<T> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(T(normal(random)));
  return values;
}

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto functions = FunctionsUnderTest();
    if (!functions.ok()) GTEST_SKIP() << functions.status().message();
    functions_ = *functions;
    Must(functions_->CreateStream(0, &stream_));
  }
  void TearDown() override {
    if (stream_ == nullptr) return;
    for (void* const memory : memory_) Must(functions_->Free(stream_, memory));
    Must(functions_->DestroyStream(stream_));
  }

  static void Must(cuda::Outcome outcome) {
    ASSERT_TRUE(outcome.ok()) << outcome.code << ": " << outcome.text;
  }

  // Memory of the device, freed when the test ends.
  template <class T>
  T* Upload(const std::vector<T>& values) {
    void* memory = nullptr;
    Must(functions_->Allocate(stream_, values.size() * sizeof(T), &memory));
    memory_.push_back(memory);
    Must(functions_->Copy(stream_, memory, values.data(), values.size() * sizeof(T)));
    Must(functions_->Synchronize(stream_));
    return static_cast<T*>(memory);
  }
  template <class T>
  T* Room(std::size_t count) {
    return Upload(std::vector<T>(count));
  }
  template <class T>
  std::vector<T> Download(const T* from, std::size_t count) {
    std::vector<T> values(count);
    Must(functions_->Copy(stream_, values.data(), from, count * sizeof(T)));
    Must(functions_->Synchronize(stream_));
    return values;
  }

  // Element by element.
  template <class T>
  void ExpectSameBits(const T* on_device, const T* expected, std::size_t count, const char* what) {
    const std::vector<T> values = Download(on_device, count);
    for (std::size_t i = 0; i < count; ++i) {
      const T &got = values[i], &wanted = expected[i];
      ASSERT_EQ(std::memcmp(&got, &wanted, sizeof(T)), 0)
          << what << "[" << i << "]: " << ToFloat(got) << " is not " << ToFloat(wanted);
    }
  }
  // Within tolerance * (1 + |expected|), in bf16 at least one rounding.
  template <class T>
  void ExpectNear(const T* on_device, const T* expected, std::size_t count, const char* what,
                  float tolerance = 2e-5F) {
    const std::vector<T> values = Download(on_device, count);
    const float bound = sizeof(T) == 2 ? std::max(tolerance, 1e-2F) : tolerance;
    for (std::size_t i = 0; i < count; ++i) {
      const float got = ToFloat(values[i]), wanted = ToFloat(expected[i]);
      if (std::isnan(got) && std::isnan(wanted)) continue;
      ASSERT_NEAR(got, wanted, bound * (1 + std::abs(wanted))) << what << "[" << i << "]";
    }
  }

  const cuda::CudaFunctions* functions_ = nullptr;
  cuda::Stream* stream_ = nullptr;

 private:
  std::vector<void*> memory_;
};

// The backward pass of a tape from `y` with this gradient of y.
template <class T>
void BackwardFrom(Tape& tape, Tensor y, const std::vector<T>& dy) {
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, tape.Input(y.shape(), dy.data()))));
}

}  // namespace muster::testing

// TEST_F for both types: the body is a member template of T.
#define MUSTER_TEST_BOTH_TYPES(fixture, name)                \
  class fixture##name : public fixture {                     \
   public:                                                   \
    template <class T>                                       \
    void Run();                                              \
  };                                                         \
  TEST_F(fixture##name, F32) { Run<float>(); }               \
  TEST_F(fixture##name, Bf16) { Run<::muster::BFloat16>(); } \
  template <class T>                                         \
  void fixture##name::Run()
