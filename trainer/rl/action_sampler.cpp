#include "trainer/rl/action_sampler.h"

#include "tensor/kernels/state_dependent_noise.h"

namespace muster::rl {
namespace {

// Draws of another width need a stream of their own: that of environments which nobody has.
constexpr std::uint32_t kLanesOfNoise = 1U << 30U;

}  // namespace

void ActionSampler::DrawMatrices(const Policy& policy, std::size_t rows, const Sampled& draw) {
  const std::size_t each = policy.noise();
  const bool kept = noise_.size() == rows * each && drawn_.seed == draw.seed &&
                    drawn_.first == draw.first && drawn_.noise_step == draw.noise_step;
  if (kept) return;
  noise_.resize(rows * each);
  for (std::size_t row = 0; row < rows; ++row) {
    const auto number = draw.first + static_cast<std::uint32_t>(row);
    DrawNoiseMatrix({draw.seed, RandomPurpose::kAction, kLanesOfNoise + number, draw.noise_step},
                    std::span(noise_).subspan(row * each, each));
  }
  drawn_ = draw;
}

void ActionSampler::Sample(Tape& tape, const Policy& policy,
                           const Policy::Distribution& distribution, const Sampled& draw,
                           Actions& actions, std::span<float> log_probs) {
  const std::size_t rows = distribution.parameters.shape()[0];
  if (policy.noise() > 0) {
    DrawMatrices(policy, rows, draw);
    policy.Explore(tape, distribution, noise_, actions, log_probs);
    return;
  }
  keys_.resize(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    keys_[row] = {draw.seed, RandomPurpose::kAction, draw.first + static_cast<std::uint32_t>(row),
                  draw.step};
  }
  policy.Sample(distribution, keys_, actions, log_probs);
}

}  // namespace muster::rl
