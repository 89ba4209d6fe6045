#include "coordinator/service/seats.h"

#include <algorithm>
#include <utility>

namespace muster::coordinator {

Seat::~Seat() {
  const std::lock_guard lock(seats_->mutex_);
  const auto found = seats_->taken_.find(caller_.name);
  std::erase(found->second, this);
  if (found->second.empty()) seats_->taken_.erase(found);
}

void Seat::OnEnd(End end) {
  const std::lock_guard lock(seats_->mutex_);
  end_ = std::move(end);
}

std::shared_ptr<Seat> Seats::Take(const Identity& caller, std::size_t most) {
  const std::lock_guard lock(mutex_);
  std::vector<Seat*>& taken = taken_[caller.name];
  if (taken.size() >= most) return nullptr;
  std::shared_ptr<Seat> seat(new Seat(shared_from_this(), caller));
  taken.push_back(seat.get());
  return seat;
}

void Seats::EndUnless(const std::function<Status(const Identity&)>& check) {
  // Ended outside the lock: a stream may go in it, and give its seat back.
  std::vector<std::pair<Seat::End, Status>> over;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, seats] : taken_) {
      for (const Seat* seat : seats) {
        Status status = check(seat->caller_);
        if (!status.ok() && seat->end_) over.emplace_back(seat->end_, std::move(status));
      }
    }
  }
  for (const auto& [end, status] : over) end(status);
}

}  // namespace muster::coordinator
