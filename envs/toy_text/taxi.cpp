// Taxi-v4: find the passenger, pick them up, drop them off where they want to be.
// Source: Gymnasium 1.4, gymnasium/envs/toy_text/taxi.py; Dietterich, "Hierarchical reinforcement
// learning with the MAXQ value function decomposition", JAIR 13, 2000.
#include <algorithm>
#include <array>

#include "envs/tabular/tabular_env.h"
#include "envs/toy_text/toy_text.h"

namespace muster::envs {
namespace {

// A bar between two squares is a wall.
const std::array<std::string, 7> kMap = {"+---------+", "|R: | : :G|", "| : | : : |", "| : : : : |",
                                         "| | : | : |", "|Y| : |B: |", "+---------+"};
constexpr std::int32_t kSize = 5, kInTaxi = 4, kPlaces = 4;
constexpr std::array<std::array<std::int32_t, 2>, kPlaces> kPlace = {
    {{0, 0}, {0, 4}, {4, 0}, {4, 3}}};
const char* const kPlaceNames = "RGYB";

struct Ride {
  std::int32_t row = 0, column = 0;
  std::int32_t passenger = 0;    // The place where they wait, or kInTaxi.
  std::int32_t destination = 0;  // A place.

  std::int32_t Encode() const {
    return ((row * kSize + column) * (kPlaces + 1) + passenger) * kPlaces + destination;
  }
  static Ride Decode(std::int32_t state) {
    const std::int32_t square = state / kPlaces / (kPlaces + 1);
    return {square / kSize, square % kSize, state / kPlaces % (kPlaces + 1), state % kPlaces};
  }
  // The place where the taxi stands, or -1.
  std::int32_t Place() const {
    for (std::int32_t i = 0; i < kPlaces; ++i) {
      if (kPlace[static_cast<std::size_t>(i)] == std::array<std::int32_t, 2>{row, column}) return i;
    }
    return -1;
  }
};

bool Open(std::int32_t row, std::int32_t bar) {
  return kMap[static_cast<std::size_t>(row + 1)][static_cast<std::size_t>(bar)] == ':';
}

// Whether one can drive south, north, east or west from here.
bool CanMove(const Ride& ride, std::int32_t action) {
  switch (action) {
    case 0:
      return ride.row < kSize - 1;
    case 1:
      return ride.row > 0;
    case 2:
      return Open(ride.row, 2 * ride.column + 2);
    default:
      return Open(ride.row, 2 * ride.column);
  }
}

Ride Moved(Ride ride, std::int32_t action) {
  if (!CanMove(ride, action)) return ride;
  ride.row += action == 0 ? 1 : action == 1 ? -1 : 0;
  ride.column += action == 2 ? 1 : action == 3 ? -1 : 0;
  return ride;
}

TabularOutcome PickUp(Ride ride) {
  const bool there = ride.passenger < kPlaces && ride.Place() == ride.passenger;
  if (there) ride.passenger = kInTaxi;
  return {1.0, ride.Encode(), there ? -1.0 : -10.0, false};
}

TabularOutcome DropOff(Ride ride) {
  const std::int32_t place = ride.Place();
  if (ride.passenger != kInTaxi || place < 0) return {1.0, ride.Encode(), -10, false};
  const bool home = place == ride.destination;
  ride.passenger = place;
  return {1.0, ride.Encode(), home ? 20.0 : -1.0, home};
}

TabularModel Model(bool rainy, double probability) {
  TabularModel model(500, 6);
  // South has east on its left and west on its right, and so on.
  constexpr std::array<std::array<std::int32_t, 2>, 4> kSides = {{{2, 3}, {3, 2}, {1, 0}, {0, 1}}};
  for (std::int32_t s = 0; s < 500; ++s) {
    const Ride ride = Ride::Decode(s);
    const bool waits = ride.passenger < kPlaces && ride.passenger != ride.destination;
    model.start[static_cast<std::size_t>(s)] = waits ? 1.0 / 300.0 : 0.0;
    const auto state = static_cast<std::size_t>(s);
    for (std::int32_t a = 0; a < 4; ++a) {
      const auto action = static_cast<std::size_t>(a);
      if (!rainy) {
        model.Add(state, action, {1.0, Moved(ride, a).Encode(), -1, false});
        continue;
      }
      model.Add(state, action, {probability, Moved(ride, a).Encode(), -1, false});
      for (const std::int32_t side : kSides[action]) {
        // Where the way ahead is blocked the rain pushes nobody.
        const Ride to = CanMove(ride, a) ? Moved(ride, side) : ride;
        model.Add(state, action, {(1.0 - probability) / 2.0, to.Encode(), -1, false});
      }
    }
    model.Add(state, 4, PickUp(ride));
    model.Add(state, 5, DropOff(ride));
  }
  return model;
}

class Taxi final : public TabularEnv {
 public:
  Taxi(EnvSpec spec, TabularModel model, bool fickle, double fickle_probability)
      : TabularEnv(std::move(spec), std::move(model)),
        fickle_(fickle),
        fickle_probability_(fickle_probability) {}

  std::unique_ptr<Env> Clone() const override { return std::make_unique<Taxi>(*this); }
  std::string RenderText() const override {
    const Ride ride = Ride::Decode(static_cast<std::int32_t>(state()));
    auto map = kMap;
    char& here =
        map[static_cast<std::size_t>(ride.row + 1)][static_cast<std::size_t>(2 * ride.column + 1)];
    here = ride.passenger == kInTaxi ? 'T' : 't';
    std::string text;
    for (const std::string& line : map) text += line + "\n";
    const auto name = [](std::int32_t place) { return std::string(1, kPlaceNames[place]); };
    return text + (ride.passenger == kInTaxi ? "on board" : "waits at " + name(ride.passenger)) +
           ", to " + name(ride.destination) + "\n";
  }
  Image RenderImage() const override {
    const Ride ride = Ride::Decode(static_cast<std::int32_t>(state()));
    std::vector<Color> cells(kSize * kSize, Color{225, 225, 215});
    const auto at = [](std::size_t place) {
      return static_cast<std::size_t>(kPlace[place][0] * kSize + kPlace[place][1]);
    };
    for (std::size_t i = 0; i < kPlaces; ++i) cells[at(i)] = {190, 190, 190};
    cells[at(static_cast<std::size_t>(ride.destination))] = {170, 90, 190};
    if (ride.passenger < kPlaces)
      cells[at(static_cast<std::size_t>(ride.passenger))] = {90, 120, 220};
    return DrawGrid(kSize, cells, static_cast<std::size_t>(ride.row * kSize + ride.column));
  }

 protected:
  Status OnReset(std::optional<std::uint64_t> seed) override {
    MUSTER_RETURN_IF_ERROR(TabularEnv::OnReset(seed));
    undecided_ = fickle_ && random().Random() < fickle_probability_;
    return {};
  }

  // A fickle passenger changes their mind on the first square that the taxi drives with them.
  Result<Transition> OnStep(ConstValues action) override {
    const Ride before = Ride::Decode(static_cast<std::int32_t>(state()));
    Result<Transition> result = TabularEnv::OnStep(action);
    Ride after = Ride::Decode(static_cast<std::int32_t>(state()));
    const bool moved = before.row != after.row || before.column != after.column;
    if (undecided_ && before.passenger == kInTaxi && moved) {
      undecided_ = false;
      const auto other = static_cast<std::int32_t>(random().Choice(kPlaces - 1));
      after.destination = other + (other >= before.destination ? 1 : 0);
      set_state(static_cast<std::size_t>(after.Encode()));
    }
    return result;
  }

  Status OnSave(ByteWriter& to) const override {
    to.Put<std::uint8_t>(undecided_ ? 1 : 0);
    return TabularEnv::OnSave(to);
  }
  Status OnLoad(ByteReader& from) override {
    undecided_ = from.Get<std::uint8_t>() != 0;
    return TabularEnv::OnLoad(from);
  }

 private:
  bool fickle_;
  double fickle_probability_;
  bool undecided_ = false;
};

}  // namespace

std::unique_ptr<Env> MakeTaxi(OptionReader& options) {
  const bool rainy = options.Flag("is_rainy", false, "the taxi may slip to either side");
  const double rain = options.Number("rainy_probability", 0.8, {0, 1}, "of going straight in rain");
  const bool fickle =
      options.Flag("fickle_passenger", false, "they may change their mind on the way");
  const double change = options.Number("fickle_probability", 0.3, {0, 1}, "of changing their mind");
  EnvSpec spec;
  spec.name = "Taxi-v4";
  spec.reward_low = -10;
  spec.reward_high = 20;
  spec.steps_max = 200;
  spec.solved_at = 8;
  spec.actions = {"south", "north", "east", "west", "pick up", "drop off"};
  return std::make_unique<Taxi>(std::move(spec), Model(rainy, rain), fickle, change);
}

}  // namespace muster::envs
