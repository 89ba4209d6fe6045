#include "envs/wrappers/time_limit.h"

namespace muster::envs {
namespace {

class TimeLimit final : public Env {
 public:
  TimeLimit(std::unique_ptr<Env> env, std::size_t steps_max)
      : env_(std::move(env)), spec_(env_->spec()) {
    spec_.steps_max = steps_max;
  }

  const EnvSpec& spec() const override { return spec_; }
  ConstValues observation() const override { return env_->observation(); }
  bool saves_state() const override { return env_->saves_state(); }
  Image RenderImage() const override { return env_->RenderImage(); }
  std::string RenderText() const override { return env_->RenderText(); }
  const TabularModel* model() const override { return env_->model(); }
  std::span<const double> expected_rewards() const override { return env_->expected_rewards(); }
  std::unique_ptr<Env> Clone() const override {
    std::unique_ptr<Env> inner = env_->Clone();
    return inner == nullptr ? nullptr
                            : std::unique_ptr<Env>(new TimeLimit(*this, std::move(inner)));
  }

 protected:
  Status OnReset(std::optional<std::uint64_t> seed) override {
    steps_ = 0;
    return env_->Reset(seed);
  }
  Result<Transition> OnStep(ConstValues action) override {
    MUSTER_ASSIGN_OR_RETURN(Transition transition, env_->Step(action));
    ++steps_;
    if (spec_.steps_max > 0 && steps_ >= spec_.steps_max) transition.truncated = true;
    return transition;
  }
  Status OnSave(ByteWriter& to) const override {
    std::string inner;
    MUSTER_RETURN_IF_ERROR(env_->Save(inner));
    to.Put<std::uint64_t>(steps_);
    to.PutText(inner);
    return {};
  }
  Status OnLoad(ByteReader& from) override {
    steps_ = from.Get<std::uint64_t>();
    return env_->Load(from.GetText());
  }

 private:
  TimeLimit(const TimeLimit& other, std::unique_ptr<Env> inner)
      : Env(other), env_(std::move(inner)), spec_(other.spec_), steps_(other.steps_) {}

  std::unique_ptr<Env> env_;
  EnvSpec spec_;
  std::size_t steps_ = 0;
};

}  // namespace

std::unique_ptr<Env> LimitTime(std::unique_ptr<Env> env, std::size_t steps_max) {
  return std::make_unique<TimeLimit>(std::move(env), steps_max);
}

}  // namespace muster::envs
