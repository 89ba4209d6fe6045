// Names one rank of one attempt of a job.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace muster::agent {

struct RankKey {
  std::uint64_t job = 0;
  std::uint32_t attempt = 0;
  std::uint32_t rank = 0;

  auto operator<=>(const RankKey&) const = default;
  // "7-2-0": its folder.
  std::string Folder() const {
    return std::to_string(job) + "-" + std::to_string(attempt) + "-" + std::to_string(rank);
  }
  // "job 7 attempt 2 rank 0", for people.
  std::string Describe() const {
    return "job " + std::to_string(job) + " attempt " + std::to_string(attempt) + " rank " +
           std::to_string(rank);
  }
};

// The key of anything with job_id, attempt and rank: requests, reports, DesiredRank.
template <class Message>
RankKey KeyOf(const Message& message) {
  return {message.job_id(), message.attempt(), message.rank()};
}

}  // namespace muster::agent
