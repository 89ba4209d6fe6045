// One environment of classic control, from its dynamics (dynamics.h).
#pragma once

#include <array>

#include "envs/classic/dynamics.h"

namespace muster::envs {

template <class D>
class ClassicEnv final : public Env {
 public:
  explicit ClassicEnv(D dynamics) : dynamics_(std::move(dynamics)), spec_(dynamics_.Spec()) {}

  const EnvSpec& spec() const override { return spec_; }
  ConstValues observation() const override { return std::span<const float>(observation_); }
  Image RenderImage() const override { return D::Draw(state_.data()); }
  std::unique_ptr<Env> Clone() const override { return std::make_unique<ClassicEnv>(*this); }

 protected:
  Status OnReset(std::optional<std::uint64_t> seed) override {
    if (seed) random_ = NumpyRandom(*seed);
    D::Begin(random_, state_.data());
    D::ObserveFirst(state_.data(), observation_.data());
    return {};
  }

  Result<Transition> OnStep(ConstValues action) override {
    const auto outcome = dynamics_.Step(state_.data(), action[0]);
    std::array<double, D::kObservations> seen{};
    D::Observe(static_cast<const double*>(state_.data()), seen.data());
    for (std::size_t i = 0; i < seen.size(); ++i) observation_[i] = static_cast<float>(seen[i]);
    return Transition{.reward = outcome.reward, .terminated = outcome.terminated};
  }

  Status OnSave(ByteWriter& to) const override {
    random_.Save(to);
    to.Put(state_);
    to.Put(observation_);
    return {};
  }
  Status OnLoad(ByteReader& from) override {
    random_.Load(from);
    from.Get(state_);
    from.Get(observation_);
    for (const double element : state_) {
      if (!IsSane(element)) return DataLoss("a state that cannot be");
    }
    return {};
  }

 private:
  D dynamics_;
  EnvSpec spec_;
  NumpyRandom random_;
  std::array<double, D::kStates> state_{};
  std::array<float, D::kObservations> observation_{};
};

}  // namespace muster::envs
