#include "tensor/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
// An allocation that is too large fails there too, instead of ending the process.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#endif

namespace muster {
namespace {

TEST(ArenaTest, GivesAlignedMemoryThatDoesNotOverlap) {
  Arena arena(1024);
  std::vector<std::pair<unsigned char*, std::size_t>> given;
  for (std::size_t bytes : {1, 63, 64, 65, 200, 5000, 3}) {
    auto* memory = static_cast<unsigned char*>(arena.Allocate(bytes));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % Arena::kAlignment, 0U);
    std::memset(memory, static_cast<int>(given.size()), bytes);
    given.emplace_back(memory, bytes);
  }
  for (std::size_t i = 0; i < given.size(); ++i) {  // Nothing was overwritten by a later one.
    const auto [memory, bytes] = given[i];
    for (std::size_t at = 0; at < bytes; ++at) ASSERT_EQ(memory[at], i);
  }
}

TEST(ArenaTest, KeepsItsBlocksAcrossResets) {
  Arena arena(1024);
  for (int step = 0; step < 3; ++step) {
    arena.Reset();
    for (std::size_t bytes : {100, 900, 4000, 500, 700}) arena.Allocate(bytes);
  }
  const std::size_t reserved = arena.reserved_bytes();
  for (int step = 0; step < 50; ++step) {
    arena.Reset();
    for (std::size_t bytes : {100, 900, 4000, 500, 700}) arena.Allocate(bytes);
  }
  EXPECT_EQ(arena.reserved_bytes(), reserved);
}

TEST(ArenaTest, ReportsTheMostThatWasInUse) {
  Arena arena(1024);
  arena.Allocate(64);
  arena.Allocate(640);
  EXPECT_EQ(arena.used_bytes(), 704U);
  arena.Reset();
  EXPECT_EQ(arena.used_bytes(), 0U);
  arena.Allocate(1);
  EXPECT_EQ(arena.used_bytes(), 64U);
  EXPECT_EQ(arena.peak_bytes(), 704U);
}

TEST(ArenaTest, TakesNoMoreThanItsBudget) {
  MemoryBudget budget(10'000);
  {
    Arena arena(1024, &budget), other(1024, &budget);
    arena.Allocate(4096);
    other.Allocate(4096);
    EXPECT_EQ(budget.taken_bytes(), 8192U);
    try {
      arena.Allocate(2048);
      FAIL() << "beyond the budget";
    } catch (const OutOfMemory& error) {
      EXPECT_STREQ(error.what(),
                   "no room for 2.0 KiB: 8.0 KiB of the 9.8 KiB allowed for steps are taken");
    }
    // What there is still serves.
    EXPECT_NE(arena.Allocate(1500), nullptr);
    other.FreeAll();
    EXPECT_NE(arena.Allocate(2048), nullptr);
    arena.Reset();
    EXPECT_NE(arena.Allocate(3000), nullptr);
  }
  EXPECT_EQ(budget.taken_bytes(), 0U);
}

TEST(ArenaTest, SaysSoWhenTheSystemHasNoMemory) {
  Arena arena;
  EXPECT_THROW(arena.Allocate(std::size_t{1} << 60U), OutOfMemory);
  EXPECT_NE(arena.Allocate(100), nullptr);
  MemoryBudget more_than_there_is(std::size_t{1} << 62U);
  Arena allowed(1024, &more_than_there_is);
  try {
    allowed.Allocate(std::size_t{1} << 60U);
    FAIL() << "no machine has that";
  } catch (const OutOfMemory& error) {
    EXPECT_NE(std::string(error.what()).find("the system gave no memory"), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(more_than_there_is.taken_bytes(), 0U);
}

}  // namespace
}  // namespace muster
