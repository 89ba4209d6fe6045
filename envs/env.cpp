#include "envs/env.h"

#include <cmath>
#include <sstream>

namespace muster::envs {
namespace {

constexpr std::uint32_t kFormat = 1;

}  // namespace

Status CheckAction(const Space& space, ConstValues action) {
  if (space.kind == SpaceKind::kBox && action.dtype == space.dtype &&
      action.size == space.elements()) {
    for (std::size_t i = 0; i < action.size; ++i) {
      if (std::isnan(action[i])) {
        return InvalidArgument("action element " + std::to_string(i) + " is NaN");
      }
    }
    return {};
  }
  return space.Check(action, "action");
}

Status Env::Reset(std::optional<std::uint64_t> seed) {
  if (phase_ == Phase::kNew && !seed) seed = 0;
  phase_ = Phase::kNew;
  MUSTER_RETURN_IF_ERROR(OnReset(seed).During("reset " + spec().name));
  phase_ = Phase::kRunning;
  return {};
}

Result<Transition> Env::Step(ConstValues action) {
  if (phase_ != Phase::kRunning) {
    return FailedPrecondition(spec().name + (phase_ == Phase::kNew
                                                 ? " has no episode yet: reset it first"
                                                 : ": the episode has ended: reset it first"));
  }
  if (Status valid = CheckAction(spec().action, action); !valid.ok()) {
    return std::move(valid).During(spec().name);
  }
  Result<Transition> result = OnStep(action);
  if (!result.ok() || result->ended()) phase_ = Phase::kEnded;
  return result;
}

Status Env::Save(std::string& bytes) const {
  bytes.clear();
  ByteWriter to(bytes);
  to.Put(kFormat);
  to.PutText(spec().name);
  to.Put(phase_);
  return phase_ == Phase::kNew ? Status() : OnSave(to);
}

Status Env::Load(std::string_view bytes) {
  ByteReader from(bytes);
  const bool known = from.Get<std::uint32_t>() == kFormat;
  const std::string name = from.GetText();
  phase_ = Phase::kNew;
  if (!known || !from.ok()) return DataLoss("these bytes are no saved environment");
  if (name != spec().name) {
    return InvalidArgument("the state of " + name + " does not fit " + spec().name);
  }
  const auto phase = from.Get<Phase>();
  if (phase != Phase::kNew) MUSTER_RETURN_IF_ERROR(OnLoad(from));
  if (!from.ok() || from.left() != 0 || phase > Phase::kEnded) {
    return DataLoss("the saved state of " + name + " is cut short or damaged");
  }
  phase_ = phase;
  return {};
}

std::string Env::RenderText() const {
  std::ostringstream text;
  const ConstValues values = observation();
  const EnvSpec& about = spec();
  for (std::size_t i = 0; i < values.size && i < 64; ++i) {
    if (i > 0) text << "  ";
    if (i < about.elements.size()) text << about.elements[i] << " ";
    text << values[i];
  }
  text << "\n";
  return text.str();
}

}  // namespace muster::envs
