// EpisodicEnv: an environment each of whose episodes depends on one seed and its actions, and which
// therefore has exact state even where it cannot save any: an episode is restored by playing it
// again. The base of plug-ins, and of whatever wraps somebody else's simulator.
#pragma once

#include <string>

#include "envs/env.h"
#include "envs/numpy_random.h"

namespace muster::envs {

class EpisodicEnv : public Env {
 public:
  ConstValues observation() const override { return seen_; }
  // Whether SaveState works. Where not, Save holds the episode's seed and actions, and Load takes
  // as long as the episode did.
  bool saves_state() const override { return false; }

 protected:
  explicit EpisodicEnv(EnvSpec spec);

  const EnvSpec& spec() const override { return spec_; }

  // Begins the episode of this seed; writes its first observation.
  virtual Status Begin(std::uint64_t seed, ValueArray& observation) = 0;
  virtual Result<Transition> Act(ConstValues action, ValueArray& observation) = 0;
  virtual Status SaveState(std::string& /*bytes*/) const { return Internal("no state to save"); }
  virtual Status LoadState(const std::string& /*bytes*/) { return Internal("no state to load"); }

  Status OnReset(std::optional<std::uint64_t> seed) final;
  Result<Transition> OnStep(ConstValues action) final;
  Status OnSave(ByteWriter& to) const final;
  Status OnLoad(ByteReader& from) final;

 private:
  Status CheckSeen() const;

  EnvSpec spec_;
  ValueArray seen_;
  NumpyRandom seeds_;          // Of the episodes after one that was given a seed.
  std::uint64_t episode_ = 0;  // The running episode's seed.
  std::string actions_;        // Its actions so far, where the state cannot be saved.
};

}  // namespace muster::envs
