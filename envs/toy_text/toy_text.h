// Gymnasium's toy_text environments: finite, small, known to every textbook.
#pragma once

#include <memory>

#include "envs/env.h"
#include "envs/options.h"

namespace muster::envs {

std::unique_ptr<Env> MakeFrozenLake(OptionReader& options, const std::string& name,
                                    const std::string& map);
std::unique_ptr<Env> MakeCliffWalking(OptionReader& options, const std::string& name,
                                      bool slippery);
std::unique_ptr<Env> MakeTaxi(OptionReader& options);
std::unique_ptr<Env> MakeBlackjack(OptionReader& options);

}  // namespace muster::envs
