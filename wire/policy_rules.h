// Rules between fields of what trains a policy on rollouts: [ppo] and [vpg].
#pragma once

#include <string>

#include "muster/v1/job.pb.h"
#include "wire/job_file.h"

namespace muster::wire {

// Whether the job has rollouts, which others may collect for its ranks.
bool CollectsRollouts(const v1::JobSpec& spec);

// Why no two runs of the job have the same bits, as the end of a sentence; empty = they have.
std::string WhyNotRepeatable(const v1::JobSpec& spec);

// Of a spec with that recipe, whose fields are each right and filled in; an empty message where
// nothing is wrong.
SpecProblem PpoProblem(const v1::JobSpec& spec);
SpecProblem VpgProblem(const v1::JobSpec& spec);

}  // namespace muster::wire
