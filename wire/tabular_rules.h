// What a [tabular] may hold, beyond the rules of its single fields.
#pragma once

#include "muster/v1/job.pb.h"
#include "wire/job_file.h"

namespace muster::wire {

// Of a spec that is filled in. What depends on the environment is found where it can be made
// (worker/rank/recipes.h).
SpecProblem TabularProblem(const v1::JobSpec& spec);

}  // namespace muster::wire
