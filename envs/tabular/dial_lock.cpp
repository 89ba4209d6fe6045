// DialLock-v0: a lock opens when all its dials show 0; a step turns each of them by one or not at
// all. Its observations and its actions are several choices at once (multi-discrete).
// Source: our own. With d_i = min(symbol, symbols - symbol), how far dial i is from 0 the shorter
// way round, the best return from a state is -max d_i: all dials turn side by side.
#include <algorithm>
#include <string>
#include <vector>

#include "envs/numpy_random.h"
#include "envs/tabular/grid_world.h"

namespace muster::envs {
namespace {

constexpr std::int32_t kTurns = 3;  // Back, not at all, on.

class DialLock final : public Env {
 public:
  DialLock(std::size_t dials, std::int32_t symbols) : symbols_(symbols), shown_(dials) {
    spec_.name = "DialLock-v0";
    spec_.observation = Space::MultiDiscrete(std::vector<std::int32_t>(dials, symbols));
    spec_.action = Space::MultiDiscrete(std::vector<std::int32_t>(dials, kTurns));
    spec_.reward_low = spec_.reward_high = -1;
    spec_.steps_max = 100;
  }

  const EnvSpec& spec() const override { return spec_; }
  ConstValues observation() const override { return std::span<const std::int32_t>(shown_); }
  std::unique_ptr<Env> Clone() const override { return std::make_unique<DialLock>(*this); }
  std::string RenderText() const override {
    std::string text;
    for (const std::int32_t symbol : shown_) text += "[" + std::to_string(symbol) + "]";
    return text + "\n";
  }

 protected:
  // Any state but the open one.
  Status OnReset(std::optional<std::uint64_t> seed) override {
    if (seed) random_ = NumpyRandom(*seed);
    do {
      for (std::int32_t& symbol : shown_) {
        symbol = static_cast<std::int32_t>(random_.Random() * symbols_);
      }
    } while (open());
    return {};
  }

  Result<Transition> OnStep(ConstValues action) override {
    const std::span<const std::int32_t> turns = action.As<std::int32_t>();
    for (std::size_t i = 0; i < shown_.size(); ++i) {
      shown_[i] = (shown_[i] + turns[i] - 1 + symbols_) % symbols_;
    }
    return Transition{.reward = -1, .terminated = open()};
  }

  Status OnSave(ByteWriter& to) const override {
    random_.Save(to);
    to.PutAll(std::span<const std::int32_t>(shown_));
    return {};
  }
  Status OnLoad(ByteReader& from) override {
    random_.Load(from);
    from.GetAll(std::span<std::int32_t>(shown_));
    const bool fits = std::all_of(shown_.begin(), shown_.end(), [this](std::int32_t symbol) {
      return symbol >= 0 && symbol < symbols_;
    });
    return fits ? Status() : DataLoss("not a state of this lock");
  }

 private:
  bool open() const {
    return std::all_of(shown_.begin(), shown_.end(),
                       [](std::int32_t symbol) { return symbol == 0; });
  }

  std::int32_t symbols_;
  EnvSpec spec_;
  NumpyRandom random_;
  std::vector<std::int32_t> shown_;
};

}  // namespace

std::unique_ptr<Env> MakeDialLock(OptionReader& options) {
  const auto dials = options.Integer("dials", 3, {1, 64}, "how many dials");
  const auto symbols = options.Integer("symbols", 7, {2, 1000}, "on each dial");
  return std::make_unique<DialLock>(static_cast<std::size_t>(dials),
                                    static_cast<std::int32_t>(symbols));
}

}  // namespace muster::envs
