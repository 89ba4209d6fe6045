#include "collectives/shm/shm_group.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/file.h"
#include "collectives/failure.h"
#include "collectives/ordered_sum.h"
#include "collectives/shm/segment.h"
#include "collectives/shm/shared_group.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t PidNamespace() {
  struct stat information {};
  return ::stat("/proc/self/ns/pid", &information) == 0 ? information.st_ino : 0;
}

class ShmGroup : public SharedGroup {
 public:
  ShmGroup(const ShmGroupOptions& options, const std::shared_ptr<SharedSegment>& segment)
      : SharedGroup(options.rank, options.size, options.group,
                    shared::Layout(segment->data(), options.size), segment),
        name_(options.name),
        segment_(segment),
        watched_(options.size) {}

  std::string_view transport() const override { return "shm"; }

  Status Attach() {
    own().pid = ::getpid();
    own().pid_namespace = PidNamespace();
    MUSTER_RETURN_IF_ERROR(Enter());
    segment_->Unlink();
    return {};
  }

 protected:
  Location Locate(const std::byte* memory, std::size_t bytes) const override;
  std::byte* Resolve(std::size_t rank, Location location) const override;
  bool Gone(std::size_t rank) override;
  Result<std::span<float>> DoAllocate(const CollectiveCall& call) override;

 private:
  // Every rank's part of an allocation lies at rank * stride.
  struct Region {
    SharedSegment segment;
    std::size_t stride;
  };

  const std::string name_;
  const std::shared_ptr<SharedSegment> segment_;
  std::vector<Region> regions_;
  std::vector<FileDescriptor> watched_;  // [size] pidfds of the other ranks, opened when needed.
};

SharedGroup::Location ShmGroup::Locate(const std::byte* memory, std::size_t bytes) const {
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    const std::byte* const begin = regions_[i].segment.data() + rank() * regions_[i].stride;
    if (memory >= begin && memory + bytes <= begin + regions_[i].stride) {
      return {i + 1, static_cast<std::uint64_t>(memory - begin)};
    }
  }
  return {};
}

std::byte* ShmGroup::Resolve(std::size_t rank, Location location) const {
  const Region& region = regions_[location.where - 1];
  return region.segment.data() + rank * region.stride + location.offset;
}

bool ShmGroup::Gone(std::size_t rank) {
  const shared::Slot& slot = layout().slot(rank);
  // A pid means something only inside its own namespace.
  if (slot.pid <= 0 || slot.pid_namespace != own().pid_namespace) return false;
  if (!watched_[rank].valid()) {
    watched_[rank] = FileDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, slot.pid, 0)));
    if (!watched_[rank].valid()) return errno == ESRCH;
  }
  // A pidfd becomes readable when its process ends, also before anybody has waited for it.
  pollfd process{watched_[rank].get(), POLLIN, 0};
  return ::poll(&process, 1, 0) > 0;
}

Result<std::span<float>> ShmGroup::DoAllocate(const CollectiveCall& call) {
  constexpr std::size_t kPage = 4096;
  MUSTER_RETURN_IF_ERROR(Meet(call));
  const std::size_t bytes = std::max<std::size_t>(call.count, 1) * sizeof(float);
  const std::size_t stride = (bytes + kPage - 1) / kPage * kPage;
  const std::string name = name_ + "-" + std::to_string(regions_.size() + 1);
  auto segment = rank() == 0 ? SharedSegment::Create(name, stride * size())
                             : Result<SharedSegment>(NotFound("not created yet"));
  const Status created = rank() == 0 ? segment.status() : Status();
  MUSTER_RETURN_IF_ERROR(AgreeOn(call, created));
  if (rank() != 0) segment = SharedSegment::Open(name, stride * size());
  MUSTER_RETURN_IF_ERROR(AgreeOn(call, segment.status()));
  segment->Unlink();
  regions_.push_back({std::move(*segment), stride});
  std::byte* const memory = regions_.back().segment.data() + rank() * stride;
  return std::span<float>(reinterpret_cast<float*>(memory), call.count);
}

Status ValidateOptions(const ShmGroupOptions& options) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  const std::string& name = options.name;
  if (name.size() < 2 || name.size() > 200 || name[0] != '/' ||
      !std::all_of(name.begin() + 1, name.end(), good)) {
    return InvalidArgument("shared memory name \"" + name +
                           "\": must be '/' and then letters, digits, '-', '_' or '.'");
  }
  if (options.size == 0 || options.size > shared::kRanksMax || options.rank >= options.size) {
    return InvalidArgument("shared memory joins 1 to " + std::to_string(shared::kRanksMax) +
                           " ranks, not rank " + std::to_string(options.rank) + " of " +
                           std::to_string(options.size));
  }
  return {};
}

Result<SharedSegment> CreateControl(const ShmGroupOptions& options) {
  auto segment = SharedSegment::Create(options.name, shared::Layout::TotalBytes(options.size));
  if (!segment.ok()) return segment;
  shared::Header& header = shared::Layout(segment->data(), options.size).header();
  header.generation = options.generation;
  header.size = options.size;
  header.magic.store(shared::kMagic);
  return segment;
}

// Polls, as there is nothing yet on which to wait; a segment of another generation is one that was
// left behind and that rank 0 is about to replace.
Result<SharedSegment> OpenControl(const ShmGroupOptions& options) {
  const auto deadline = Clock::now() + options.group.timeout;
  std::string found = "it has not created it";
  while (true) {
    auto segment = SharedSegment::Open(options.name, shared::Layout::TotalBytes(options.size));
    if (segment.ok()) {
      const shared::Header& header = shared::Layout(segment->data(), options.size).header();
      const bool ready = header.magic.load() == shared::kMagic;
      if (ready && header.generation == options.generation && header.size == options.size) {
        return segment;
      }
      if (ready) found = "only generation " + std::to_string(header.generation) + " is there";
    } else if (segment.status().code() != StatusCode::kNotFound) {
      return segment;
    }
    if (Clock::now() >= deadline) {
      return Status(StatusCode::kDeadlineExceeded,
                    "attach to shared memory " + options.name + ": no word from rank 0 for " +
                        Seconds(options.group.timeout) + ": " + found);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

Result<std::unique_ptr<Group>> CreateShmGroup(const ShmGroupOptions& options) {
  MUSTER_RETURN_IF_ERROR(ValidateOptions(options));
  auto segment = options.rank == 0 ? CreateControl(options) : OpenControl(options);
  if (!segment.ok()) return segment.status();
  auto group =
      std::make_unique<ShmGroup>(options, std::make_shared<SharedSegment>(std::move(*segment)));
  MUSTER_RETURN_IF_ERROR(group->Attach().During("attach to shared memory " + options.name));
  return std::unique_ptr<Group>(std::move(group));
}

}  // namespace muster
