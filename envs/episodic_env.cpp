#include "envs/episodic_env.h"

#include <cmath>

namespace muster::envs {

EpisodicEnv::EpisodicEnv(EnvSpec spec)
    : spec_(std::move(spec)), seen_(spec_.observation.dtype, spec_.observation.elements()) {}

Status EpisodicEnv::OnReset(std::optional<std::uint64_t> seed) {
  if (seed) seeds_ = NumpyRandom(*seed);
  episode_ = seed ? *seed : seeds_.Next64();
  actions_.clear();
  MUSTER_RETURN_IF_ERROR(Begin(episode_, seen_));
  return CheckSeen().During("the first observation");
}

Result<Transition> EpisodicEnv::OnStep(ConstValues action) {
  MUSTER_ASSIGN_OR_RETURN(const Transition result, Act(action, seen_));
  if (!saves_state()) actions_.append(static_cast<const char*>(action.data), action.bytes());
  MUSTER_RETURN_IF_ERROR(CheckSeen().During(spec_.name));
  if (std::isnan(result.reward)) return InvalidArgument(spec_.name + ": the reward is NaN");
  return result;
}

// What would poison a policy unnoticed.
Status EpisodicEnv::CheckSeen() const {
  if (spec_.observation.dtype != DType::kFloat32) return {};
  const ConstValues values = seen_;
  for (std::size_t i = 0; i < values.size; ++i) {
    if (std::isnan(values[i])) {
      return InvalidArgument("element " + std::to_string(i) + " of the observation is NaN");
    }
  }
  return {};
}

Status EpisodicEnv::OnSave(ByteWriter& to) const {
  std::string state;
  if (saves_state()) MUSTER_RETURN_IF_ERROR(SaveState(state));
  const ConstValues seen = seen_;
  seeds_.Save(to);
  to.Put(episode_);
  to.PutText({static_cast<const char*>(seen.data), seen.bytes()});
  to.PutText(saves_state() ? state : actions_);
  return {};
}

Status EpisodicEnv::OnLoad(ByteReader& from) {
  seeds_.Load(from);
  from.Get(episode_);
  const std::string seen = from.GetText(), state = from.GetText();
  const std::size_t bytes = spec_.action.bytes();
  if (!from.ok() || seen.size() != seen_.bytes().size())
    return DataLoss("no state of " + spec_.name);
  if (saves_state()) {
    MUSTER_RETURN_IF_ERROR(LoadState(state));
    std::memcpy(seen_.bytes().data(), seen.data(), seen.size());
    return {};
  }
  if (state.size() % bytes != 0) return DataLoss("no state of " + spec_.name);
  MUSTER_RETURN_IF_ERROR(Begin(episode_, seen_));
  for (std::size_t at = 0; at < state.size(); at += bytes) {
    const ConstValues action(spec_.action.dtype, state.data() + at, spec_.action.elements());
    MUSTER_RETURN_IF_ERROR(Act(action, seen_).status());
  }
  actions_ = state;
  if (std::memcmp(seen_.bytes().data(), seen.data(), seen.size()) != 0) {
    return DataLoss(spec_.name +
                    ": the same seed and actions led elsewhere, so its episodes cannot "
                    "be restored; `muster env check` shows where");
  }
  return {};
}

}  // namespace muster::envs
