// A plug-in as an older header made it, before plug-ins told their options.
#include <cstddef>

#include "envs/plugin/muster_env.h"

class Older {
 public:
  explicit Older(muster_env::Options& options) : start_(options.Integer("start", 0)) {}
  muster_env::Spec Describe() const {
    muster_env::Spec spec;
    spec.observation = muster_env::Space::Discrete(2);
    spec.action = muster_env::Space::Discrete(2);
    spec.steps_max = 3;
    return spec;
  }
  void Reset(muster_env::Random&) { at_ = start_; }
  muster_env::Step Act(muster_env::Action action, muster_env::Random&) {
    at_ = action.Choice();
    return {1.0, false, false};
  }
  void Observe(std::int32_t* observation) const { *observation = static_cast<std::int32_t>(at_); }
  template <class Archive>
  void State(Archive& archive) {
    archive(at_);
  }

 private:
  long start_, at_ = 0;
};

extern "C" MUSTER_ENV_EXPORT const muster_env_api* muster_env_plugin(void) {
  static muster_env_api api = muster_env::internal::Api<Older>("Older");
  api.size = offsetof(muster_env_api, options);
  api.options = [](void*, char*, std::int64_t) -> std::int64_t { std::abort(); };  // Not its own.
  return &api;
}
