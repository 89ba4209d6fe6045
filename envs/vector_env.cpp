#include "envs/vector_env.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace muster::envs {
namespace {

constexpr std::uint32_t kVectorFormat = 1;

std::size_t Padded(std::size_t envs) { return (envs + 3) / 4 * 4; }

// Whether all are in 0..choices-1, in one pass that compilers vectorise.
bool AllBelow(std::span<const std::int32_t> actions, std::int32_t choices) {
  std::uint32_t outside = 0;
  for (const std::int32_t action : actions) {
    outside |= static_cast<std::uint32_t>(static_cast<std::uint32_t>(action) >=
                                          static_cast<std::uint32_t>(choices));
  }
  return outside == 0;
}
bool NoneIsNan(std::span<const float> actions) {
  std::uint32_t wrong = 0;
  for (const float action : actions) wrong |= static_cast<std::uint32_t>(action != action);
  return wrong == 0;
}

class EnvBatch final : public VectorEnv {
 public:
  EnvBatch(std::vector<std::unique_ptr<Env>> envs, const VectorOptions& options)
      : VectorEnv(envs.front()->spec(), options),
        envs_(std::move(envs)),
        elements_(spec_.observation.elements()),
        results_(spec_.observation, envs_.size()),
        ended_(envs_.size()) {}

  Status Reset(std::span<const std::uint64_t> seeds) override {
    MUSTER_CHECK(seeds.size() == envs_.size(), "one seed an environment");
    for (std::size_t i = 0; i < envs_.size(); ++i) MUSTER_RETURN_IF_ERROR(Begin(i, seeds[i]));
    return {};
  }

  Status Step(ConstValues actions) override {
    const bool disabled = options_.autoreset == Autoreset::kDisabled;
    MUSTER_RETURN_IF_ERROR(CheckStep(actions, disabled ? std::span<const std::uint8_t>(ended_)
                                                       : std::span<const std::uint8_t>()));
    const std::size_t width = spec_.action.elements();
    for (std::size_t i = 0; i < envs_.size(); ++i) {
      if (ended_[i] != 0) {  // Next-step mode.
        MUSTER_RETURN_IF_ERROR(Begin(i, std::nullopt));
        continue;
      }
      MUSTER_ASSIGN_OR_RETURN(const Transition transition,
                              envs_[i]->Step(actions.Part(i * width, width)));
      results_.rewards[i] = static_cast<float>(transition.reward);
      const bool same_step = transition.ended() && options_.autoreset == Autoreset::kSameStep;
      if (same_step) {
        results_.final_observations.Set(i * elements_, envs_[i]->observation());
        MUSTER_RETURN_IF_ERROR(envs_[i]->Reset());
      }
      results_.observations.Set(i * elements_, envs_[i]->observation());
      results_.terminated[i] = transition.terminated ? 1 : 0;
      results_.truncated[i] = transition.truncated ? 1 : 0;
      results_.started[i] = same_step ? 1 : 0;
      ended_[i] = transition.ended() && !same_step ? 1 : 0;
    }
    return {};
  }

  Status ResetEnded() override {
    for (std::size_t i = 0; i < envs_.size(); ++i) {
      if (ended_[i] != 0) MUSTER_RETURN_IF_ERROR(Begin(i, std::nullopt));
    }
    return {};
  }

  ConstValues observations() const override {
    return results_.observations.Part(0, envs_.size() * elements_);
  }
  ConstValues final_observations() const override {
    return results_.final_observations.Part(0, envs_.size() * elements_);
  }
  std::span<const float> rewards() const override {
    return {results_.rewards.data(), envs_.size()};
  }
  std::span<const std::uint8_t> terminated() const override {
    return {results_.terminated.data(), envs_.size()};
  }
  std::span<const std::uint8_t> truncated() const override {
    return {results_.truncated.data(), envs_.size()};
  }
  std::span<const std::uint8_t> started() const override {
    return {results_.started.data(), envs_.size()};
  }

  Status SaveOne(std::size_t env, ByteWriter& to) const override {
    std::string state;
    MUSTER_RETURN_IF_ERROR(envs_[env]->Save(state));
    to.Put(ended_[env]);
    to.PutText(state);
    results_.SaveOne(env, to);
    return {};
  }
  Status LoadOne(std::size_t env, ByteReader& from) override {
    from.Get(ended_[env]);
    MUSTER_RETURN_IF_ERROR(envs_[env]->Load(from.GetText()));
    results_.LoadOne(env, from);
    return {};
  }

 private:
  Status Begin(std::size_t i, std::optional<std::uint64_t> seed) {
    MUSTER_RETURN_IF_ERROR(envs_[i]->Reset(seed));
    results_.observations.Set(i * elements_, envs_[i]->observation());
    results_.rewards[i] = 0;
    results_.terminated[i] = results_.truncated[i] = ended_[i] = 0;
    results_.started[i] = 1;
    return {};
  }

  std::vector<std::unique_ptr<Env>> envs_;
  std::size_t elements_;
  VectorResults results_;
  std::vector<std::uint8_t> ended_;  // And not begun anew yet.
};

}  // namespace

VectorEnv::VectorEnv(EnvSpec spec, const VectorOptions& options)
    : spec_(std::move(spec)), options_(options) {
  MUSTER_CHECK(options.envs > 0, "a batch needs an environment");
}

Status VectorEnv::ResetFrom(std::uint64_t first_seed) {
  std::vector<std::uint64_t> seeds(envs());
  std::iota(seeds.begin(), seeds.end(), first_seed);
  return Reset(seeds);
}

Status VectorEnv::CheckStep(ConstValues actions, std::span<const std::uint8_t> ended) const {
  const Space& space = spec_.action;
  const std::size_t width = space.elements();
  if (actions.dtype != space.dtype || actions.size != envs() * width) {
    return InvalidArgument(spec_.name + ": a step of " + std::to_string(envs()) +
                           " environments takes as many actions of " + space.Text() + ", not " +
                           std::to_string(actions.size) + " elements of " + NameOf(actions.dtype));
  }
  const bool valid = space.kind == SpaceKind::kDiscrete
                         ? AllBelow(actions.As<std::int32_t>(), space.choices[0])
                     : space.dtype == DType::kFloat32 ? NoneIsNan(actions.As<float>())
                                                      : false;  // Looked at one by one.
  for (std::size_t i = 0; !valid && i < envs(); ++i) {
    if (Status one = CheckAction(space, actions.Part(i * width, width)); !one.ok()) {
      return std::move(one).During(spec_.name + " " + std::to_string(i));
    }
  }
  const auto waiting = std::find_if(ended.begin(), ended.end(), [](auto e) { return e != 0; });
  if (waiting != ended.end()) {
    return FailedPrecondition(spec_.name + " " + std::to_string(waiting - ended.begin()) +
                              ": the episode has ended; call ResetEnded() before the next step");
  }
  return {};
}

Status VectorEnv::Save(std::size_t first, std::size_t count, std::string& bytes) const {
  MUSTER_CHECK(first + count <= envs(), "a slice beyond the batch");
  bytes.clear();
  ByteWriter to(bytes);
  to.Put(kVectorFormat);
  to.PutText(spec_.name);
  to.Put<std::uint64_t>(count);
  for (std::size_t i = first; i < first + count; ++i) MUSTER_RETURN_IF_ERROR(SaveOne(i, to));
  return {};
}

Status VectorEnv::Load(std::size_t first, std::string_view bytes) {
  ByteReader from(bytes);
  const bool known = from.Get<std::uint32_t>() == kVectorFormat;
  const std::string name = from.GetText();
  const auto count = from.Get<std::uint64_t>();
  if (!known || !from.ok()) return DataLoss("these bytes are no saved batch of environments");
  if (name != spec_.name) {
    return InvalidArgument("the state of " + name + " does not fit " + spec_.name);
  }
  if (first > envs() || count > envs() - first) {
    return InvalidArgument("the state of " + std::to_string(count) + " environments does not fit " +
                           std::to_string(envs()) + " from " + std::to_string(first) + " on");
  }
  for (std::size_t i = first; i < first + count; ++i) MUSTER_RETURN_IF_ERROR(LoadOne(i, from));
  if (!from.ok() || from.left() != 0) {
    return DataLoss("the saved batch of " + name + " is cut short or damaged");
  }
  return {};
}

VectorResults::VectorResults(const Space& space, std::size_t envs)
    : observations(space.dtype, Padded(envs) * space.elements()),
      final_observations(space.dtype, Padded(envs) * space.elements()),
      rewards(Padded(envs)),
      terminated(Padded(envs)),
      truncated(Padded(envs)),
      started(Padded(envs)),
      row_bytes_(space.bytes()) {}

void VectorResults::SaveOne(std::size_t env, ByteWriter& to) const {
  const auto* const bytes = static_cast<const char*>(ConstValues(observations).data);
  to.PutAll(std::span(bytes + env * row_bytes_, row_bytes_));
  to.Put(rewards[env]);
  to.Put(terminated[env]);
  to.Put(truncated[env]);
  to.Put(started[env]);
}

void VectorResults::LoadOne(std::size_t env, ByteReader& from) {
  from.GetAll(observations.bytes().subspan(env * row_bytes_, row_bytes_));
  from.Get(rewards[env]);
  from.Get(terminated[env]);
  from.Get(truncated[env]);
  from.Get(started[env]);
}

std::unique_ptr<VectorEnv> Batch(std::vector<std::unique_ptr<Env>> envs, Autoreset autoreset) {
  MUSTER_CHECK(!envs.empty(), "a batch needs an environment");
  const VectorOptions options = {.envs = envs.size(), .autoreset = autoreset};
  return std::make_unique<EnvBatch>(std::move(envs), options);
}

}  // namespace muster::envs
