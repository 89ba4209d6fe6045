// What all wrappers of batches share: everything they do not change comes from inside.
#pragma once

#include <memory>

#include "envs/vector_env.h"

namespace muster::envs {

class VectorWrapper : public VectorEnv {
 public:
  Status Reset(std::span<const std::uint64_t> seeds) override { return inner_->Reset(seeds); }
  Status Step(ConstValues actions) override { return inner_->Step(actions); }
  Status ResetEnded() override { return inner_->ResetEnded(); }
  ConstValues observations() const override { return inner_->observations(); }
  ConstValues final_observations() const override { return inner_->final_observations(); }
  std::span<const float> rewards() const override { return inner_->rewards(); }
  std::span<const std::uint8_t> terminated() const override { return inner_->terminated(); }
  std::span<const std::uint8_t> truncated() const override { return inner_->truncated(); }
  std::span<const std::uint8_t> started() const override { return inner_->started(); }
  Status SaveOne(std::size_t env, ByteWriter& to) const override {
    return inner_->SaveOne(env, to);
  }
  Status LoadOne(std::size_t env, ByteReader& from) override { return inner_->LoadOne(env, from); }

 protected:
  // `spec` is what the wrapper makes of the inner one.
  VectorWrapper(std::unique_ptr<VectorEnv> inner, EnvSpec spec)
      : VectorEnv(std::move(spec), {.envs = inner->envs(), .autoreset = inner->autoreset()}),
        inner_(std::move(inner)) {}

  bool Ended(std::size_t env) const {
    return inner_->terminated()[env] != 0 || inner_->truncated()[env] != 0;
  }
  VectorEnv& inner() { return *inner_; }
  const VectorEnv& inner() const { return *inner_; }

 private:
  std::unique_ptr<VectorEnv> inner_;
};

}  // namespace muster::envs
