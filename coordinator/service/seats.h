// The streams that people hold open: so many each, and over as soon as their caller may no longer
// call.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/people.h"

namespace muster::coordinator {

class Seats;

// One open stream; given back when it is destroyed.
class Seat {
 public:
  using End = std::function<void(const Status&)>;

  ~Seat();
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

  // How the stream is ended before its time. Must do no harm when the stream is over.
  void OnEnd(End end);

 private:
  friend class Seats;
  Seat(std::shared_ptr<Seats> seats, Identity caller)
      : seats_(std::move(seats)), caller_(std::move(caller)) {}

  std::shared_ptr<Seats> seats_;
  const Identity caller_;
  End end_;  // Guarded by the mutex of `seats_`.
};

// Thread-safe.
class Seats : public std::enable_shared_from_this<Seats> {
 public:
  // Null when the caller has `most` of them.
  std::shared_ptr<Seat> Take(const Identity& caller, std::size_t most);

  // Ends the streams of callers for whom `check` is not OK, with its message.
  void EndUnless(const std::function<Status(const Identity&)>& check);

 private:
  friend class Seat;
  std::mutex mutex_;
  std::map<std::string, std::vector<Seat*>> taken_;  // By name.
};

}  // namespace muster::coordinator
