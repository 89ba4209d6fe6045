// An environment that draws from a TabularModel. Its observation is the state's number.
// Draws as Gymnasium's toy_text environments do: one random() a reset and one a step, the first
// outcome whose cumulated probability exceeds it (gymnasium/envs/toy_text/utils.py).
#pragma once

#include <array>

#include "envs/env.h"
#include "envs/numpy_random.h"
#include "envs/tabular/model.h"

namespace muster::envs {

class TabularEnv : public Env {
 public:
  // The spaces of `spec` are set to those of the model.
  TabularEnv(EnvSpec spec, TabularModel model);

  const EnvSpec& spec() const override { return spec_; }
  ConstValues observation() const override { return std::span<const std::int32_t>(state_); }
  const TabularModel* model() const override { return model_.get(); }
  std::unique_ptr<Env> Clone() const override { return std::make_unique<TabularEnv>(*this); }

 protected:
  Status OnReset(std::optional<std::uint64_t> seed) override;
  Result<Transition> OnStep(ConstValues action) override;
  Status OnSave(ByteWriter& to) const override;
  Status OnLoad(ByteReader& from) override;

  std::size_t state() const { return static_cast<std::size_t>(state_[0]); }
  void set_state(std::size_t state) { state_[0] = static_cast<std::int32_t>(state); }
  // The newest action of the episode, -1 right after a reset.
  std::int32_t last_action() const { return last_action_; }
  NumpyRandom& random() { return random_; }

 private:
  EnvSpec spec_;
  std::shared_ptr<const TabularModel> model_;
  std::shared_ptr<const std::vector<double>> start_;  // Cumulated probabilities.
  NumpyRandom random_;
  std::array<std::int32_t, 1> state_{};
  std::int32_t last_action_ = -1;
};

// A grid drawn with squares of 64 pixels, one colour a square, row by row; `agent` gets a disc. Of
// more than 16 rows or columns the squares are smaller, so that the picture has 1,024 pixels a side
// at most, but never below 4 pixels.
Image DrawGrid(std::size_t columns, std::span<const Color> cells, std::size_t agent);

}  // namespace muster::envs
