#include "collectives/local/local_group.h"

#include <cstdlib>
#include <cstring>

#include "collectives/shm/shared_group.h"

namespace muster {
namespace {

class LocalGroup : public SharedGroup {
 public:
  LocalGroup(std::size_t rank, std::size_t size, const GroupOptions& options, shared::Layout layout,
             const std::shared_ptr<void>& memory)
      : SharedGroup(rank, size, options, layout, memory) {
    // All ranks are made at once, so there is nobody to wait for.
    own().state.store(static_cast<std::uint32_t>(shared::RankState::kPresent));
  }

  std::string_view transport() const override { return "local"; }

 protected:
  Location Locate(const std::byte* memory, std::size_t /*bytes*/) const override {
    return {1, reinterpret_cast<std::uintptr_t>(memory)};
  }
  std::byte* Resolve(std::size_t /*rank*/, Location location) const override {
    return reinterpret_cast<std::byte*>(location.offset);  // NOLINT: one address space.
  }
  Result<std::span<float>> DoAllocate(const CollectiveCall& call) override {
    MUSTER_RETURN_IF_ERROR(Meet(call));
    return AllocatePlain(call.count);
  }
};

}  // namespace

std::vector<std::unique_ptr<Group>> CreateLocalGroups(std::size_t size,
                                                      const GroupOptions& options) {
  MUSTER_CHECK(size > 0 && size <= shared::kRanksMax, "a local group has 1 to 64 ranks");
  const std::size_t bytes = (shared::Layout::TotalBytes(size) + 4095) / 4096 * 4096;
  const std::shared_ptr<void> memory(std::aligned_alloc(4096, bytes),
                                     [](void* p) { std::free(p); });
  MUSTER_CHECK(memory != nullptr, "out of memory");
  std::memset(memory.get(), 0, bytes);
  const shared::Layout layout(static_cast<std::byte*>(memory.get()), size);
  std::vector<std::unique_ptr<Group>> groups;
  for (std::size_t rank = 0; rank < size; ++rank) {
    groups.push_back(std::make_unique<LocalGroup>(rank, size, options, layout, memory));
  }
  return groups;
}

}  // namespace muster
