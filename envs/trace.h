// `muster env trace`: what an environment answers to a list of actions, as lines of JSON that can
// be compared with another implementation's.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include "envs/env.h"

namespace muster::envs {

// Resets `env` with `seed` and takes the actions in `actions`, one a line: a number, or a JSON list
// of numbers. Empty lines are left out. Writes
//   {"reset": true, "observation": ...}
//   {"observation": ..., "reward": ..., "terminated": ..., "truncated": ...}      for each action
// An episode's end is followed by a reset without a seed, a line of its own. Numbers have the
// digits that give the same double again. kInvalidArgument as "FILE:LINE: what is wrong", after the
// lines before it; `file` names where the actions are from.
Status TraceEnv(Env& env, std::uint64_t seed, std::string_view actions, const std::string& file,
                std::ostream& out);

// A value as JSON: a number for one without a shape, otherwise nested lists.
std::string JsonOf(const Space& space, ConstValues value);

// An action as a line of text. kInvalidArgument where it is none of `space`.
Result<ValueArray> ParseAction(const Space& space, std::string_view line);

}  // namespace muster::envs
