// Probes an agent before it is let loose: trains it in the five probe environments (envs/probes),
// each of which needs one more part of it to work, and compares with what it has to have learnt.
// The first that fails says where to look.
// Source: Jones, "Debugging RL, without the agonizing pain", 2021.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/thread_pool.h"
#include "trainer/rl/ppo_options.h"

namespace muster::rl {

struct ProbeResult {
  std::string name;  // "Probe3-v0"
  bool passed = false;
  std::string learnt;   // "V(0) = 0.9899 (0.9900), V(1) = 1.0001 (1.0000)": expected in brackets.
  std::string look_at;  // Of one that failed: what is likely to be wrong.
};

struct ProbeMarks {
  // Of what the ARENA curriculum gives its agent: environment steps, and how near it has to come.
  // Other widths and coefficients learn more slowly; what is broken does not learn at all.
  std::uint64_t steps_factor = 1;
  double tolerance_factor = 1;
};

// The agent of `options`: its policy, losses, discounts and clipping. How long it trains, in how
// many environments, how fast and without what entropy bonus is the probes' own, so that the same
// marks hold for every agent. Errors are those of TrainPpo.
Result<std::vector<ProbeResult>> ProbeAgent(const PpoOptions& options, ThreadPool& pool,
                                            const ProbeMarks& marks = {});

}  // namespace muster::rl
