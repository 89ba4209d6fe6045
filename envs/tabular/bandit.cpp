#include "envs/tabular/bandit.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace muster::envs {

Bandit::Bandit(std::size_t arms, bool stationary, std::optional<std::uint64_t> problem)
    : stationary_(stationary), problem_(problem), means_(arms) {
  spec_.name = "ArmedBanditTestbed-v0";
  spec_.observation = Space::Discrete(1);
  spec_.action = Space::Discrete(static_cast<std::int32_t>(arms));
  spec_.steps_max = 1000;
}

std::size_t Bandit::best_arm() const {
  return static_cast<std::size_t>(std::max_element(means_.begin(), means_.end()) - means_.begin());
}

std::string Bandit::RenderText() const {
  std::string text;
  for (std::size_t i = 0; i < means_.size(); ++i) {
    std::array<char, 64> line{};
    std::snprintf(line.data(), line.size(), "arm %zu  mean %+.3f%s\n", i, means_[i],
                  i == best_arm() ? "  best" : "");
    text += line.data();
  }
  return text;
}

Status Bandit::OnReset(std::optional<std::uint64_t> seed) {
  if (seed) random_ = NumpyRandom(*seed);
  NumpyRandom own(problem_.value_or(0));
  NumpyRandom& random = problem_ ? own : random_;
  for (double& mean : means_) mean = stationary_ ? random.Normal(0, 1) : 0;
  return {};
}

Result<Transition> Bandit::OnStep(ConstValues action) {
  if (!stationary_) {
    for (double& mean : means_) mean += random_.Normal(0, 0.01);
  }
  const double mean = means_[static_cast<std::size_t>(action.As<std::int32_t>()[0])];
  return Transition{.reward = random_.Normal(mean, 1)};
}

Status Bandit::OnSave(ByteWriter& to) const {
  random_.Save(to);
  to.PutAll(std::span<const double>(means_));
  return {};
}

Status Bandit::OnLoad(ByteReader& from) {
  random_.Load(from);
  from.GetAll(std::span<double>(means_));
  return {};
}

}  // namespace muster::envs
