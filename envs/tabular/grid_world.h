// The ARENA curriculum's environments for exact solution methods; each tells its model.
#pragma once

#include <memory>

#include "envs/env.h"
#include "envs/options.h"

namespace muster::envs {

std::unique_ptr<Env> MakeDialLock(OptionReader& options);
std::unique_ptr<Env> MakeToyGym(OptionReader& options);
std::unique_ptr<Env> MakeNorvigGrid(OptionReader& options);

}  // namespace muster::envs
