#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <fstream>

#include "tensor/cuda/library.h"

namespace muster::cuda {
namespace {

// The library of this build, or an error that says that it is not built.
Result<const CudaFunctions*> Built() { return LoadLibrary(MUSTER_CUDA_LIBRARY_PATH); }

TEST(CudaLibraryTest, SetsEveryEntryOfItsTable) {
  const auto library = Built();
  if (!library.ok()) GTEST_SKIP() << library.status().message();
  // After three numbers the table is pointers to functions.
  constexpr std::size_t kFirst = offsetof(CudaFunctions, DeviceCount) / sizeof(void*);
  constexpr std::size_t kWords = sizeof(CudaFunctions) / sizeof(void*);
  std::uintptr_t words[kWords];
  std::memcpy(words, *library, sizeof(words));
  for (std::size_t i = kFirst; i < kWords; ++i) EXPECT_NE(words[i], 0U) << "entry " << i - kFirst;
  EXPECT_GT(kWords - kFirst, 70U);
}

TEST(CudaLibraryTest, SaysInWordsWhyThereIsNoGpu) {
  const auto library = Built();
  if (!library.ok()) GTEST_SKIP() << library.status().message();
  const auto devices = DeviceCount(**library);
  if (devices.ok()) GTEST_SKIP() << "there are " << *devices << " GPUs";
  EXPECT_NE(devices.status().message().find(" GPU"), std::string::npos);
  EXPECT_NE(devices.status().message().find("nvidia-smi"), std::string::npos);
}

// What DeviceCount answers with, by the code that CUDA gives.
std::int32_t answered_code = 0, answered_count = 0;
Outcome AnswerCount(std::int32_t* count) noexcept {
  *count = answered_count;
  return {answered_code, "what CUDA says"};
}

TEST(CudaLibraryTest, TellsAMissingDriverFromAMissingGpu) {
  CudaFunctions table;
  table.DeviceCount = AnswerCount;
  answered_code = 35;
  EXPECT_EQ(DeviceCount(table).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(DeviceCount(table).status().message().find("no CUDA driver"), std::string::npos);
  answered_code = 100;
  EXPECT_EQ(DeviceCount(table).status().code(), StatusCode::kNotFound);
  answered_code = 0;
  EXPECT_EQ(DeviceCount(table).status().code(), StatusCode::kNotFound);  // 0 GPUs.
  answered_count = 2;
  EXPECT_EQ(*DeviceCount(table), 2);
}

TEST(CudaLibraryTest, RefusesATableOfAnotherBuild) {
  CudaFunctions table;
  EXPECT_TRUE(CheckTable(table, "a.so").ok());
  ++table.args_bytes;
  EXPECT_EQ(CheckTable(table, "a.so").code(), StatusCode::kFailedPrecondition);
  table = {};
  --table.table_bytes;
  EXPECT_FALSE(CheckTable(table, "a.so").ok());
  table = {};
  ++table.version;
  EXPECT_NE(CheckTable(table, "a.so").message().find("a.so belongs to another build"),
            std::string::npos);
}

TEST(CudaLibraryTest, SaysWhatToDoAboutAFileThatIsNoLibrary) {
  const auto missing = LoadLibrary("/nowhere/libmuster_cuda.so");
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(missing.status().message().find("-DMUSTER_CUDA=ON"), std::string::npos);
  const std::string path = ::testing::TempDir() + "no_library.so";
  std::ofstream(path) << "not a library";
  EXPECT_EQ(LoadLibrary(path).status().code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace muster::cuda
