#include "collectives/failure.h"

namespace muster {

std::string Seconds(std::chrono::milliseconds time) {
  std::string text = std::to_string(time.count() / 1000);
  if (const auto rest = time.count() % 1000; rest != 0) {
    std::string digits = std::to_string(1000 + rest).substr(1);
    while (digits.back() == '0') digits.pop_back();
    text += "." + digits;
  }
  return text + " s";
}

Status NoWord(const CollectiveCall& call, std::span<const std::size_t> ranks,
              std::chrono::milliseconds timeout, std::string_view hints) {
  std::string names;
  for (const std::size_t rank : ranks) {
    names += (names.empty() ? "" : ", ") + std::to_string(rank);
  }
  return {StatusCode::kDeadlineExceeded, call.Describe() + ": no word from rank" +
                                             (ranks.size() > 1 ? "s " : " ") + names + " for " +
                                             Seconds(timeout) + std::string(hints)};
}

Status Lost(const CollectiveCall& call, std::size_t rank, std::string_view why) {
  return Unavailable(call.Describe() + ": lost rank " + std::to_string(rank) + ": " +
                     std::string(why));
}

Status Mismatch(const CollectiveCall& call, std::size_t rank, const CollectiveCall& other) {
  return FailedPrecondition(call.Describe() + ": rank " + std::to_string(rank) + " is in " +
                            other.Describe() + "; all ranks must make the same calls");
}

}  // namespace muster
