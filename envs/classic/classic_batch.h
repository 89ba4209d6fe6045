// Thousands of environments of classic control, four abreast: state in arrays by element
// (structure of arrays), no virtual call and no allocation in a step. The same bits as ClassicEnv.
#pragma once

#include <algorithm>

#include "envs/classic/dynamics.h"
#include "envs/vector_env.h"

namespace muster::envs {

template <class D>
class ClassicBatch final : public VectorEnv {
 public:
  // `spec` is the dynamics' with the time limit that holds.
  ClassicBatch(D dynamics, EnvSpec spec, const VectorOptions& options)
      : VectorEnv(std::move(spec), options),
        dynamics_(std::move(dynamics)),
        padded_((options.envs + 3) / 4 * 4),
        steps_max_(spec_.steps_max == 0 ? INT32_MAX
                                        : static_cast<std::int32_t>(
                                              std::min<std::size_t>(spec_.steps_max, INT32_MAX))),
        state_(D::kStates * padded_),
        steps_(padded_),
        waiting_(padded_),
        random_(padded_),
        results_(spec_.observation, options.envs) {}

  Status Reset(std::span<const std::uint64_t> seeds) override {
    MUSTER_CHECK(seeds.size() == envs(), "one seed an environment");
    begun_ = true;
    for (std::size_t i = 0; i < envs(); ++i) {
      random_[i] = NumpyRandom(seeds[i]);
      Restart(i);
    }
    return {};
  }

  Status Step(ConstValues actions) override {
    if (!begun_) return FailedPrecondition(spec_.name + " has no episode yet: reset it first");
    std::span<const std::uint8_t> refused;
    if (options_.autoreset == Autoreset::kDisabled) refused = {waiting_.data(), envs()};
    MUSTER_RETURN_IF_ERROR(CheckStep(actions, refused));
    const auto* const given = static_cast<const Element*>(actions.data);
    const std::size_t whole = envs() / 4 * 4;
    for (std::size_t at = 0; at < whole; at += 4) StepFour(at, given + at);
    if (whole < envs()) {
      Element rest[4] = {};  // NOLINT: what stands in for environments that are not there acts too.
      std::copy(given + whole, given + envs(), rest);
      for (std::size_t k = 0; k < D::kStates; ++k) {
        std::fill(&state_[k * padded_ + envs()], &state_[k * padded_] + padded_, 0.0);
      }
      StepFour(whole, rest);
    }
    return {};
  }

  Status ResetEnded() override {
    for (std::size_t i = 0; i < envs(); ++i) {
      if (waiting_[i] != 0) Restart(i);
    }
    return {};
  }

  ConstValues observations() const override {
    return results_.observations.Part(0, envs() * D::kObservations);
  }
  ConstValues final_observations() const override {
    return results_.final_observations.Part(0, envs() * D::kObservations);
  }
  std::span<const float> rewards() const override { return {results_.rewards.data(), envs()}; }
  std::span<const std::uint8_t> terminated() const override {
    return {results_.terminated.data(), envs()};
  }
  std::span<const std::uint8_t> truncated() const override {
    return {results_.truncated.data(), envs()};
  }
  std::span<const std::uint8_t> started() const override {
    return {results_.started.data(), envs()};
  }

  Status SaveOne(std::size_t env, ByteWriter& to) const override {
    random_[env].Save(to);
    for (std::size_t k = 0; k < D::kStates; ++k) to.Put(state_[k * padded_ + env]);
    to.Put(steps_[env]);
    to.Put(waiting_[env]);
    results_.SaveOne(env, to);
    return {};
  }
  Status LoadOne(std::size_t env, ByteReader& from) override {
    begun_ = true;
    random_[env].Load(from);
    bool sane = true;
    for (std::size_t k = 0; k < D::kStates; ++k) {
      double& element = state_[k * padded_ + env];
      from.Get(element);
      sane = sane && IsSane(element);
      if (!sane) element = 0;
    }
    from.Get(steps_[env]);
    from.Get(waiting_[env]);
    results_.LoadOne(env, from);
    if (!sane) return DataLoss(spec_.name + " " + std::to_string(env) + ": a state that cannot be");
    return {};
  }

 private:
  using Element = std::conditional_t<D::kDiscrete, std::int32_t, float>;
  using Element4 = std::conditional_t<D::kDiscrete, Int4, Float4>;

  // First state and observation of an episode, and flags that say so.
  void Restart(std::size_t i) {
    Begin(i);
    results_.rewards[i] = 0;
    results_.terminated[i] = results_.truncated[i] = 0;
    results_.started[i] = 1;
  }
  void Begin(std::size_t i) {
    double state[D::kStates];  // NOLINT: as everywhere that dynamics work on.
    D::Begin(random_[i], state);
    for (std::size_t k = 0; k < D::kStates; ++k) state_[k * padded_ + i] = state[k];
    D::ObserveFirst(state, Row(results_.observations, i));
    steps_[i] = 0;
    waiting_[i] = 0;
  }
  static float* Row(ValueArray& values, std::size_t i) {
    return reinterpret_cast<float*>(values.bytes().data()) + i * D::kObservations;
  }

  template <class Vector, class T>
  static Vector LoadFour(const T* from) {
    Vector values;
    std::memcpy(&values, from, sizeof values);
    return values;
  }
  template <class Vector, class T>
  static void StoreFour(const Vector& values, T* to) {
    std::memcpy(to, &values, sizeof values);
  }
  // Four bytes of 0 or 1 from the lowest four bits.
  static void StoreFlags(unsigned bits, std::uint8_t* to) {
    const std::uint32_t spread = (bits * 0x00204081U) & 0x01010101U;
    std::memcpy(to, &spread, sizeof spread);
  }

  void StepFour(std::size_t at, const Element* actions) {
    const Double4 action = __builtin_convertvector(LoadFour<Element4>(actions), Double4);
    Double4 state[D::kStates];  // NOLINT: vectors have no room in std::array.
    for (std::size_t k = 0; k < D::kStates; ++k) {
      state[k] = LoadFour<Double4>(&state_[k * padded_ + at]);
    }
    const auto outcome = dynamics_.Step(state, action);
    for (std::size_t k = 0; k < D::kStates; ++k) StoreFour(state[k], &state_[k * padded_ + at]);
    StoreFour(__builtin_convertvector(outcome.reward, Float4), &results_.rewards[at]);
    const Int4 steps = LoadFour<Int4>(&steps_[at]) + 1;
    StoreFour(steps, &steps_[at]);
    StoreObservations(state, at);

    const Int4 late = steps >= steps_max_;
    const auto terminated = static_cast<unsigned>(_mm256_movemask_pd((__m256d)outcome.terminated));
    const auto truncated = static_cast<unsigned>(_mm_movemask_ps((__m128)late));
    StoreFlags(terminated, &results_.terminated[at]);
    StoreFlags(truncated, &results_.truncated[at]);
    StoreFlags(0, &results_.started[at]);
    std::uint32_t waiting = 0;
    if (options_.autoreset == Autoreset::kNextStep) {
      std::memcpy(&waiting, &waiting_[at], sizeof waiting);
    }
    if ((terminated | truncated | waiting) != 0) EndFour(at, terminated | truncated);
  }

  // What happens to environments at .. at + 3 after a step in which some of them ended, or that
  // were waiting for their reset instead.
  void EndFour(std::size_t at, unsigned ended) {
    for (std::size_t i = at; i < std::min(at + 4, envs()); ++i, ended >>= 1U) {
      if (waiting_[i] != 0 && options_.autoreset == Autoreset::kNextStep) {
        Restart(i);
      } else if ((ended & 1U) == 0) {
        continue;
      } else if (options_.autoreset == Autoreset::kSameStep) {
        std::copy_n(Row(results_.observations, i), D::kObservations,
                    Row(results_.final_observations, i));
        Begin(i);
        results_.started[i] = 1;
      } else {
        waiting_[i] = 1;
      }
    }
  }

  void StoreObservations(const Double4* state, std::size_t at) {
    Double4 seen[D::kObservations];  // NOLINT: see above.
    D::Observe(state, seen);
    float* const to = Row(results_.observations, at);
    if constexpr (D::kObservations == 4) {
      __m128 a = _mm256_cvtpd_ps(seen[0]), b = _mm256_cvtpd_ps(seen[1]);
      __m128 c = _mm256_cvtpd_ps(seen[2]), d = _mm256_cvtpd_ps(seen[3]);
      _MM_TRANSPOSE4_PS(a, b, c, d);
      _mm_storeu_ps(to, a);
      _mm_storeu_ps(to + 4, b);
      _mm_storeu_ps(to + 8, c);
      _mm_storeu_ps(to + 12, d);
    } else {
      for (std::size_t k = 0; k < D::kObservations; ++k) {
        const Float4 column = __builtin_convertvector(seen[k], Float4);
        for (std::size_t i = 0; i < 4; ++i) to[i * D::kObservations + k] = column[i];
      }
    }
  }

  D dynamics_;
  std::size_t padded_;
  std::int32_t steps_max_;
  bool begun_ = false;
  std::vector<double> state_;          // [kStates, padded]
  std::vector<std::int32_t> steps_;    // Of the running episode.
  std::vector<std::uint8_t> waiting_;  // The episode has ended and no other has begun.
  std::vector<NumpyRandom> random_;
  VectorResults results_;
};

}  // namespace muster::envs
