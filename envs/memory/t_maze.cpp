// TMaze-v0: a sign at the start tells where to turn at the end of a corridor, and nothing on the
// way does. What sees the newest observation alone turns right half the time at best.
// Source: Bakker, "Reinforcement learning with long short-term memory", NeurIPS 14, 2001, section
// 5.1: its observations and rewards; here an episode is cut after 20 steps for each of the
// corridor.
#include <array>

#include "envs/numpy_random.h"
#include "envs/registry.h"

namespace muster::envs {
namespace {

constexpr std::int32_t kNorth = 0, kEast = 1, kSouth = 2;  // And west.
constexpr double kGoal = 4, kWrong = -0.1;                 // A wrong turn, and a step into a wall.
constexpr std::int64_t kLengthMost = 100'000;

class TMaze final : public Env {
 public:
  explicit TMaze(std::int64_t length) : length_(length) {
    spec_.name = "TMaze-v0";
    spec_.observation = Space::Box({3}, 0, 1);
    spec_.action = Space::Discrete(4);
    spec_.reward_low = kWrong;
    spec_.reward_high = kGoal;
    spec_.steps_max = static_cast<std::size_t>(length) * 20;
    spec_.solved_at = kGoal * 0.95;
    spec_.actions = {"north", "east", "south", "west"};
  }

  const EnvSpec& spec() const override { return spec_; }
  ConstValues observation() const override { return std::span<const float>(seen_); }
  std::unique_ptr<Env> Clone() const override { return std::make_unique<TMaze>(*this); }
  std::string RenderText() const override {
    std::string text(static_cast<std::size_t>(length_) + 1, '.');
    text[static_cast<std::size_t>(place_)] = '@';
    return text + "+  sign at the start: " + (north_ ? "north" : "south") + "\n";
  }

 protected:
  Status OnReset(std::optional<std::uint64_t> seed) override {
    if (seed) random_ = NumpyRandom(*seed);
    north_ = random_.Random() < 0.5 ? 1 : 0;
    place_ = 0;
    See();
    return {};
  }

  Result<Transition> OnStep(ConstValues action) override {
    const std::int32_t way = action.As<std::int32_t>()[0];
    const bool turns = way == kNorth || way == kSouth;
    if (place_ == length_ && turns) {
      return Transition{.reward = (way == kNorth) == (north_ != 0) ? kGoal : kWrong,
                        .terminated = true};
    }
    const std::int64_t next = turns ? place_ : place_ + (way == kEast ? 1 : -1);
    const bool wall = turns || next < 0 || next > length_;
    if (!wall) place_ = next;
    See();
    return Transition{.reward = wall ? kWrong : 0.0};
  }

  Status OnSave(ByteWriter& to) const override {
    random_.Save(to);
    to.Put(place_);
    to.Put(north_);
    to.Put(seen_);
    return {};
  }
  Status OnLoad(ByteReader& from) override {
    random_.Load(from);
    from.Get(place_);
    from.Get(north_);
    from.Get(seen_);
    const bool fits = place_ >= 0 && place_ <= length_ && north_ <= 1;
    return fits ? Status() : DataLoss("not a place in this maze");
  }

 private:
  // 011 and 110 are the signs, 101 the corridor, 010 the junction.
  void See() {
    seen_ = {1, 0, 1};
    if (place_ == length_) seen_ = {0, 1, 0};
    if (place_ == 0)
      seen_ = north_ != 0 ? std::array<float, 3>{0, 1, 1} : std::array<float, 3>{1, 1, 0};
  }

  std::int64_t length_;
  EnvSpec spec_;
  NumpyRandom random_;
  std::int64_t place_ = 0;
  std::uint8_t north_ = 0;  // Where the sign points: 1 = north, 0 = south.
  std::array<float, 3> seen_{};
};

}  // namespace

std::vector<EnvEntry> MemoryEntries() {
  return {{"TMaze-v0",
           "memory",
           "turn where a sign at the start of the corridor pointed",
           [](OptionReader& options) {
             return std::make_unique<TMaze>(options.Integer("length", 10, {1, kLengthMost},
                                                            "steps from the sign to the junction"));
           },
           {}}};
}

}  // namespace muster::envs
