// Blackjack-v1: hit or stick against a dealer who sticks on 17.
// Source: Gymnasium 1.4, gymnasium/envs/toy_text/blackjack.py; Sutton and Barto, 2nd edition,
// example 5.1.
#include <algorithm>
#include <array>

#include "envs/numpy_random.h"
#include "envs/toy_text/toy_text.h"

namespace muster::envs {
namespace {

// Cards that are held; an ace counts 11 where that does not bust.
struct Hand {
  std::int32_t total = 0;  // Aces as 1.
  std::int32_t cards = 0;
  bool ace = false;

  void Take(std::int32_t card) {
    total += card;
    ++cards;
    ace = ace || card == 1;
  }
  bool usable_ace() const { return ace && total + 10 <= 21; }
  std::int32_t sum() const { return usable_ace() ? total + 10 : total; }
  bool bust() const { return sum() > 21; }
  std::int32_t score() const { return bust() ? 0 : sum(); }
  bool natural() const { return cards == 2 && ace && total == 11; }
};

class Blackjack final : public Env {
 public:
  Blackjack(bool natural, bool sab) : natural_(natural), sab_(sab) {
    spec_.name = "Blackjack-v1";
    spec_.observation = Space::MultiDiscrete({32, 11, 2});
    spec_.action = Space::Discrete(2);
    spec_.reward_low = -1;
    spec_.reward_high = natural && !sab ? 1.5 : 1;
    spec_.actions = {"stick", "hit"};
    spec_.elements = {"player's sum", "dealer shows", "usable ace"};
  }

  const EnvSpec& spec() const override { return spec_; }
  ConstValues observation() const override { return std::span<const std::int32_t>(seen_); }
  std::unique_ptr<Env> Clone() const override { return std::make_unique<Blackjack>(*this); }
  Image RenderImage() const override {
    Image image(384, 376, {196, 216, 158});
    DrawSum(image, seen_[1], 40, {200, 60, 60});
    DrawSum(image, seen_[0], 200, seen_[2] != 0 ? Color{60, 90, 200} : kBlack);
    return image;
  }

 protected:
  Status OnReset(std::optional<std::uint64_t> seed) override {
    if (seed) random_ = NumpyRandom(*seed);
    dealer_ = player_ = {};
    shown_ = DrawCard();
    dealer_.Take(shown_);
    dealer_.Take(DrawCard());
    player_.Take(DrawCard());
    player_.Take(DrawCard());
    // The reference draws the suit of the card it shows, and its face where it counts 10.
    random_.Choice(4);
    if (shown_ == 10) random_.Choice(3);
    See();
    return {};
  }

  Result<Transition> OnStep(ConstValues action) override {
    Transition result;
    if (action.As<std::int32_t>()[0] == 1) {
      player_.Take(DrawCard());
      result.terminated = player_.bust();
      result.reward = player_.bust() ? -1 : 0;
    } else {
      while (dealer_.sum() < 17) dealer_.Take(DrawCard());
      result.terminated = true;
      const std::int32_t ours = player_.score(), theirs = dealer_.score();
      result.reward = ours > theirs ? 1 : ours < theirs ? -1 : 0;
      if (sab_ && player_.natural() && !dealer_.natural()) {
        result.reward = 1;
      } else if (!sab_ && natural_ && player_.natural() && result.reward == 1) {
        result.reward = 1.5;
      }
    }
    See();
    return result;
  }

  Status OnSave(ByteWriter& to) const override {
    random_.Save(to);
    for (const Hand* hand : {&dealer_, &player_}) {
      to.Put(hand->total);
      to.Put(hand->cards);
      to.Put<std::uint8_t>(hand->ace ? 1 : 0);
    }
    to.Put(shown_);
    return {};
  }
  Status OnLoad(ByteReader& from) override {
    random_.Load(from);
    for (Hand* hand : {&dealer_, &player_}) {
      from.Get(hand->total);
      from.Get(hand->cards);
      hand->ace = from.Get<std::uint8_t>() != 0;
    }
    from.Get(shown_);
    for (const Hand& hand : {dealer_, player_}) {
      if (hand.total < 0 || hand.total > 31) return DataLoss("a hand that cannot be");
    }
    if (shown_ < 1 || shown_ > 10) return DataLoss("a card that cannot be");
    See();
    return {};
  }

 private:
  // Ace to nine, and four kinds of ten.
  std::int32_t DrawCard() {
    return static_cast<std::int32_t>(std::min<std::size_t>(random_.Choice(13) + 1, 10));
  }
  void See() { seen_ = {player_.sum(), shown_, player_.usable_ace() ? 1 : 0}; }
  // A sum as so many strokes, ten a row.
  static void DrawSum(Image& image, std::int32_t sum, double y, Color color) {
    for (std::int32_t i = 0; i < sum; ++i) {
      const double left = 40 + (i % 10) * 30, top = y + i / 10 * 40;
      image.Rectangle({left, top}, {left + 20, top + 30}, color);
    }
  }

  bool natural_, sab_;
  EnvSpec spec_;
  NumpyRandom random_;
  Hand dealer_, player_;
  std::int32_t shown_ = 0;
  std::array<std::int32_t, 3> seen_{};
};

}  // namespace

std::unique_ptr<Env> MakeBlackjack(OptionReader& options) {
  const bool natural = options.Flag("natural", false, "an ace and a ten that win pay 1.5");
  const bool sab =
      options.Flag("sab", true, "the rules of Sutton and Barto: a natural wins at once");
  return std::make_unique<Blackjack>(natural, sab);
}

}  // namespace muster::envs
