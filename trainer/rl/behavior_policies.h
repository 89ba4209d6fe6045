// BehaviorPolicies: the policies that act elsewhere, on machines of any numerics class.
//
// What the same policy thinks of the same observation differs there in its last bits, and with them
// the log-probability of an action. A learner's ratio of new to old probabilities is meant to be 1
// before its first step, so it takes as old ones what the policy that acted says here; how far the
// two are apart is told. Between alike machines the difference is 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "trainer/rl/policy.h"
#include "trainer/rl/policy_tape.h"
#include "trainer/rl/rollout.h"

namespace muster::rl {

class BehaviorPolicies {
 public:
  // `policy` must outlive it.
  explicit BehaviorPolicies(const Policy& policy) : policy_(policy), tape_(policy) {}

  // The policy of `version` has these values; versions below `oldest` do not act any more.
  void Keep(std::uint64_t version, std::span<const float> values, std::uint64_t oldest);

  // Writes log_probs anew: what the policy of the trajectory's version says of its actions here.
  // kNotFound where that version is not kept.
  Status Recompute(Trajectory& trajectory);

  // Between log-probabilities of before and after, in nats.
  struct Difference {
    double largest = 0;  // Of all actions, absolute.
    double sum = 0;      // Likewise.
    double actions = 0;
  };
  // Since the last call.
  Difference Take() { return std::exchange(difference_, {}); }

 private:
  const Policy& policy_;
  PolicyTape tape_;
  std::map<std::uint64_t, std::vector<float>> kept_;
  Difference difference_;
};

}  // namespace muster::rl
