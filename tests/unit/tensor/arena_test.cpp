#include "tensor/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

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

}  // namespace
}  // namespace muster
