#include "tensor/arena.h"

#include <string>

namespace muster {

void Arena::NextBlock(std::size_t bytes) {
  if (!blocks_.empty() && next_ != nullptr) {
    used_before_ += static_cast<std::size_t>(next_ - blocks_[current_].memory.get());
    ++current_;
  }
  // A kept block that is too small is passed over; it serves again after the next Reset.
  while (current_ < blocks_.size() && blocks_[current_].bytes < bytes) ++current_;
  if (current_ == blocks_.size()) AddBlock(bytes);
  next_ = blocks_[current_].memory.get();
  end_ = next_ + blocks_[current_].bytes;
}

// Ever larger blocks, of huge pages where the system has them: fewer faults and table misses.
void Arena::AddBlock(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20U;
  const std::size_t wished = std::max({bytes, block_bytes_, reserved_bytes() / 4});
  const auto rounded = [](std::size_t size) {
    return size >= kHugePage ? (size + kHugePage - 1) / kHugePage * kHugePage : size;
  };
  bool refused = false;  // By the system, not by the budget.
  // No more than needed where more is not to be had.
  for (const std::size_t size : {rounded(wished), rounded(bytes), bytes}) {
    if (budget_ != nullptr && !budget_->Take(size)) continue;
    auto* const memory = static_cast<std::byte*>(AllocateArray(size));
    if (memory == nullptr) {
      refused = true;
      if (budget_ != nullptr) budget_->GiveBack(size);
      continue;
    }
    blocks_.push_back({std::unique_ptr<std::byte[], Free>(memory, Free{size}), size});
    return;
  }
  // All blocks count as full; what they hold was counted above.
  current_ = blocks_.empty() ? 0 : blocks_.size() - 1;
  next_ = end_ = blocks_.empty() ? nullptr : blocks_[current_].memory.get();
  std::string why = "the system gave no memory";
  if (!refused) {
    why = BytesText(budget_->taken_bytes()) + " of the " + BytesText(budget_->bytes()) +
          " allowed for steps are taken";
  }
  throw OutOfMemory("no room for " + BytesText(bytes) + ": " + why);
}

void Arena::FreeAll() {
  Reset();
  if (budget_ != nullptr) budget_->GiveBack(reserved_bytes());
  blocks_.clear();
  next_ = end_ = nullptr;
}

void Arena::Reset() {
  peak_bytes_ = peak_bytes();
  current_ = 0;
  used_before_ = 0;
  next_ = blocks_.empty() ? nullptr : blocks_[0].memory.get();
  end_ = blocks_.empty() ? nullptr : next_ + blocks_[0].bytes;
}

std::size_t Arena::used_bytes() const {
  if (blocks_.empty()) return 0;
  return used_before_ + static_cast<std::size_t>(next_ - blocks_[current_].memory.get());
}

std::size_t Arena::peak_bytes() const { return std::max(peak_bytes_, used_bytes()); }

std::size_t Arena::reserved_bytes() const {
  std::size_t total = 0;
  for (const Block& block : blocks_) total += block.bytes;
  return total;
}

}  // namespace muster
