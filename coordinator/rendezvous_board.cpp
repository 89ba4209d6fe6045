#include "coordinator/rendezvous_board.h"

#include <utility>

namespace muster::coordinator {

Status RendezvousBoard::Put(AttemptId attempt, const std::string& key, const std::string& value) {
  constexpr std::size_t kValueBytesMax = 64U << 10U;
  constexpr std::size_t kValuesMax = 4096;
  Board& board = boards_[attempt];
  if (value.size() > kValueBytesMax || key.size() > kValueBytesMax ||
      (board.values.size() >= kValuesMax && board.values.count(key) == 0)) {
    return {StatusCode::kResourceExhausted, "rendezvous: too large, or too many keys"};
  }
  board.values[key] = value;
  std::vector<Waiter> waiting;
  for (Waiter& waiter : std::exchange(board.waiters, {})) {
    if (waiter.key == key) {
      waiter.done(value);
    } else {
      waiting.push_back(std::move(waiter));
    }
  }
  board.waiters = std::move(waiting);
  return {};
}

void RendezvousBoard::Get(AttemptId attempt, const std::string& key, Millis deadline, Done done) {
  if (closed_) return done(Unavailable("the coordinator is ending"));
  Board& board = boards_[attempt];
  const auto found = board.values.find(key);
  if (found != board.values.end()) return done(found->second);
  board.waiters.push_back({key, deadline, std::move(done)});
}

void RendezvousBoard::Tick(Millis now) {
  for (auto& [attempt, board] : boards_) {
    std::vector<Waiter> waiting;
    for (Waiter& waiter : std::exchange(board.waiters, {})) {
      if (waiter.deadline <= now) {
        waiter.done(Status(StatusCode::kDeadlineExceeded,
                           "rendezvous: nobody has put '" + waiter.key + "' in time"));
      } else {
        waiting.push_back(std::move(waiter));
      }
    }
    board.waiters = std::move(waiting);
  }
}

void RendezvousBoard::Close() {
  closed_ = true;
  for (auto& [attempt, board] : std::exchange(boards_, {})) {
    for (const Waiter& waiter : board.waiters) {
      waiter.done(Unavailable("the coordinator is ending"));
    }
  }
}

void RendezvousBoard::Remove(AttemptId attempt) {
  const auto found = boards_.find(attempt);
  if (found == boards_.end()) return;
  const std::vector<Waiter> waiters = std::move(found->second.waiters);
  boards_.erase(found);
  for (const Waiter& waiter : waiters) {
    waiter.done(Aborted("rendezvous: the attempt has been replaced"));
  }
}

}  // namespace muster::coordinator
