// Behind `muster env play --gif`: episodes of an environment as an animated GIF.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "envs/env.h"
#include "envs/numpy_random.h"

namespace muster::tools {

struct EnvGifOptions {
  std::string path;
  // What is not given: one episode of at most 1,000 steps. Steps alone take as many episodes as
  // they need; episodes alone, and lists of actions, as many steps.
  std::optional<std::uint64_t> steps, episodes;
  std::optional<std::uint64_t> frame_ms;  // Otherwise 50, or 250 where observations are discrete.
};

// Whoever acts.
class Policy {
 public:
  virtual ~Policy() = default;
  // The next action; nothing where there are no more.
  virtual Result<std::optional<envs::ValueArray>> Act() = 0;
  // Whether it ends by itself.
  virtual bool ends() const { return false; }
  // An error that the last action led to, with "FILE:LINE: " before it where that is known.
  virtual Status Placed(Status error) const { return error; }
};

// Uniform actions; `spec` must outlive it.
class RandomPolicy final : public Policy {
 public:
  RandomPolicy(const envs::EnvSpec& spec, std::uint64_t seed);
  Result<std::optional<envs::ValueArray>> Act() override;

 private:
  const envs::EnvSpec& spec_;
  envs::NumpyRandom random_;
};

// Those of a text, one a line, as names, numbers or JSON lists; empty lines are left out.
class ListedPolicy final : public Policy {
 public:
  ListedPolicy(const envs::EnvSpec& spec, std::string text, std::string file);
  Result<std::optional<envs::ValueArray>> Act() override;
  bool ends() const override { return true; }
  Status Placed(Status error) const override {
    return std::move(error).During(file_ + ":" + std::to_string(line_));
  }

 private:
  const envs::EnvSpec& spec_;
  std::string text_, file_;
  std::size_t at_ = 0, line_ = 0;
};

// An action as a person writes it: by its name, or as envs::ParseAction takes it.
Result<envs::ValueArray> ActionOf(const envs::EnvSpec& spec, std::string_view line);

// Resets `env` with `seed`, lets `policy` act and writes a picture of every reset and step to a GIF
// at options.path; the last of an episode stands for a second. An episode's end is followed by a
// reset without a seed. Tells what it wrote as a line on `out`. kInvalidArgument for an environment
// that draws nothing, for a bad action and for more than 100,000 pictures.
Status WriteEnvGif(envs::Env& env, std::uint64_t seed, Policy& policy, const EnvGifOptions& options,
                   std::ostream& out);

}  // namespace muster::tools
