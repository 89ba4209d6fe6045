#include "envs/env.h"

#include <gtest/gtest.h>

#include <cmath>

#include "envs/encode.h"
#include "envs/image.h"
#include "envs/numpy_random.h"
#include "envs/registry.h"
#include "envs/sample.h"

namespace muster::envs {
namespace {

const std::vector<std::int32_t> kLeft = {0}, kRight = {1};

TEST(SpaceTest, ChecksValuesAndSaysWhatWouldDo) {
  const Space box = Space::Box({-1, 0}, {1, INFINITY});
  EXPECT_EQ(box.Text(), "Box([-1, 0]..[1, inf], [2], float32)");
  EXPECT_TRUE(box.Check(std::vector<float>{0.5F, 1e30F}, "action").ok());
  EXPECT_EQ(box.Check(std::vector<float>{0, -2}, "action").message(),
            "action element 1 is -2, outside of Box([-1, 0]..[1, inf], [2], float32)");
  EXPECT_FALSE(box.Check(std::vector<float>{NAN, 0}, "action").ok());
  EXPECT_FALSE(box.Check(std::vector<float>{0}, "action").ok());
  EXPECT_FALSE(box.Check(std::vector<std::int32_t>{0, 0}, "action").ok());
  const Space choices = Space::MultiDiscrete({3, 2});
  EXPECT_TRUE(choices.Check(std::vector<std::int32_t>{2, 1}, "action").ok());
  EXPECT_FALSE(choices.Check(std::vector<std::int32_t>{2, 2}, "action").ok());
  EXPECT_EQ(Space::Box({2, 3, 1}, 0, 255, DType::kUint8).bytes(), 6U);
  EXPECT_EQ(Space::Discrete(4).Text(), "Discrete(4)");
}

TEST(SampleTest, StaysInItsSpaceAndReachesAllOfIt) {
  NumpyRandom random(1);
  const Space space = Space::MultiDiscrete({2, 5});
  ValueArray value(space.dtype, space.elements());
  std::array<std::array<int, 5>, 2> seen{};
  for (int i = 0; i < 500; ++i) {
    Sample(space, random, value);
    ASSERT_TRUE(space.Check(value, "action").ok());
    for (std::size_t k = 0; k < 2; ++k) ++seen[k][static_cast<std::size_t>(ConstValues(value)[k])];
  }
  for (const int count : seen[0]) EXPECT_TRUE(count == 0 || count > 200);
  for (const int count : seen[1]) EXPECT_GT(count, 50);
}

TEST(EncodeTest, ChoicesBecomeOneHotAndPixelsFractions) {
  const auto encoded = [](const Space& space, ConstValues values) {
    std::vector<float> features(values.size / space.elements() * FeaturesOf(space));
    Encode(space, values, features);
    return features;
  };
  EXPECT_EQ(encoded(Space::Discrete(3), std::vector<std::int32_t>{2, 0}),
            (std::vector<float>{0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(encoded(Space::MultiDiscrete({2, 3}), std::vector<std::int32_t>{1, 0, 0, 2}),
            (std::vector<float>{0, 1, 1, 0, 0, 1, 0, 0, 0, 1}));
  EXPECT_EQ(encoded(Space::Box({2}, 0, 255, DType::kUint8), std::vector<std::uint8_t>{0, 255}),
            (std::vector<float>{0, 1}));
  EXPECT_EQ(encoded(Space::Box({2}, -1, 1), std::vector<float>{0.5F, -1}),
            (std::vector<float>{0.5F, -1}));
  EXPECT_THROW(encoded(Space::Discrete(3), std::vector<std::int32_t>{3}), ContractViolation);
}

TEST(EnvTest, RefusesStepsOutOfPlace) {
  const auto env = std::move(*MakeEnv("CartPole-v1"));
  EXPECT_EQ(env->Step(kLeft).status().message(), "CartPole-v1 has no episode yet: reset it first");
  ASSERT_TRUE(env->Reset(3).ok());
  EXPECT_EQ(env->Step(std::vector<std::int32_t>{2}).status().message(),
            "CartPole-v1: action is 2, outside of Discrete(2)");
  while (!env->Step(kLeft)->ended()) {
  }
  EXPECT_EQ(env->Step(kLeft).status().message(),
            "CartPole-v1: the episode has ended: reset it first");
}

TEST(EnvTest, BothFlagsAreSetWhereAnEpisodeEndsOnItsLastStep) {
  const auto free = std::move(*MakeEnv("CartPole-v1", {{"max_episode_steps", "0"}}));
  ASSERT_TRUE(free->Reset(3).ok());
  std::size_t steps = 1;
  while (!free->Step(kRight)->ended()) ++steps;
  const auto limited =
      std::move(*MakeEnv("CartPole-v1", {{"max_episode_steps", std::to_string(steps)}}));
  ASSERT_TRUE(limited->Reset(3).ok());
  for (std::size_t i = 1; i < steps; ++i) ASSERT_FALSE(limited->Step(kRight)->ended());
  const Transition last = *limited->Step(kRight);
  EXPECT_TRUE(last.terminated && last.truncated);
}

TEST(EnvTest, AStateOfAnotherEnvironmentIsRefused) {
  const auto cart = std::move(*MakeEnv("CartPole-v1"));
  const auto car = std::move(*MakeEnv("MountainCar-v0"));
  ASSERT_TRUE(cart->Reset(1).ok());
  std::string state;
  ASSERT_TRUE(cart->Save(state).ok());
  EXPECT_EQ(car->Load(state).message(), "the state of CartPole-v1 does not fit MountainCar-v0");
}

TEST(EnvTest, BeforeAnySeedTheSeedIsZero) {
  const auto one = std::move(*MakeEnv("Pendulum-v1")), two = std::move(*MakeEnv("Pendulum-v1"));
  ASSERT_TRUE(one->Reset().ok());
  ASSERT_TRUE(two->Reset(0).ok());
  EXPECT_EQ(one->RenderText(), two->RenderText());
  ASSERT_TRUE(two->Reset(1).ok());
  EXPECT_NE(one->RenderText(), two->RenderText());
}

TEST(VectorEnvTest, NamesTheEnvironmentWhoseActionIsWrongAndMovesNone) {
  const auto env = std::move(*MakeVectorEnv("CartPole-v1", {}, {.envs = 6}));
  std::vector<std::int32_t> actions(6);
  EXPECT_FALSE(env->Step(actions).ok());  // Not reset yet.
  ASSERT_TRUE(env->ResetFrom(1).ok());
  const auto before = env->observations().As<float>();
  const std::vector<float> copy(before.begin(), before.end());
  actions[4] = -1;
  EXPECT_EQ(env->Step(actions).message(), "CartPole-v1 4: action is -1, outside of Discrete(2)");
  EXPECT_FALSE(env->Step(std::vector<std::int32_t>(5)).ok());
  EXPECT_FALSE(env->Step(std::vector<float>(6)).ok());
  EXPECT_EQ(std::vector<float>(before.begin(), before.end()), copy);
  const auto box = std::move(*MakeVectorEnv("Pendulum-v1", {}, {.envs = 2}));
  ASSERT_TRUE(box->ResetFrom(1).ok());
  EXPECT_EQ(box->Step(std::vector<float>{0, NAN}).message(),
            "Pendulum-v1 1: action element 0 is NaN");
  EXPECT_FALSE(MakeVectorEnv("Pendulum-v1", {}, {.envs = 0}).ok());
}

// A batch of one is the batch of many: nothing depends on neighbours.
TEST(VectorEnvTest, AnEnvironmentIsTheSameInAnyPlaceOfAnyBatch) {
  const auto large = std::move(*MakeVectorEnv("Acrobot-v1", {}, {.envs = 9}));
  ASSERT_TRUE(large->ResetFrom(40).ok());
  std::vector<std::unique_ptr<VectorEnv>> small;
  for (std::uint64_t i = 0; i < 9; ++i) {
    small.push_back(std::move(*MakeVectorEnv("Acrobot-v1", {}, {.envs = 1})));
    ASSERT_TRUE(small.back()->ResetFrom(40 + i).ok());
  }
  NumpyRandom random(1);
  for (int step = 0; step < 600; ++step) {
    std::vector<std::int32_t> actions(9);
    for (auto& action : actions) action = static_cast<std::int32_t>(random.Integers(0, 3));
    ASSERT_TRUE(large->Step(actions).ok());
    for (std::size_t i = 0; i < 9; ++i) {
      ASSERT_TRUE(small[i]->Step(std::vector<std::int32_t>{actions[i]}).ok());
      for (std::size_t k = 0; k < 6; ++k) {
        ASSERT_EQ(large->observations()[i * 6 + k], small[i]->observations()[k]) << step;
      }
    }
  }
}

TEST(ImageTest, ShapesCoverTheirPixels) {
  Image image(10, 8);
  image.Rectangle({2, 1}, {5, 4}, kBlack);
  std::size_t black = 0;
  for (std::size_t y = 0; y < 8; ++y) {
    for (std::size_t x = 0; x < 10; ++x) {
      const bool inside = x >= 2 && x < 5 && y >= 1 && y < 4;
      EXPECT_EQ(image.At(x, y) == kBlack, inside) << x << " " << y;
      black += image.At(x, y) == kBlack ? 1 : 0;
    }
  }
  EXPECT_EQ(black, 9U);
  image.Disc({-5, -5}, 2, kGrey);  // Outside of the picture.
  EXPECT_EQ(image.At(0, 0), kWhite);
  EXPECT_EQ(image.Ppm().substr(0, 11), "P6\n10 8\n255");
  EXPECT_EQ(image.Ppm().size(), 12U + 240U);
}

// The pole leans to the right of an upright one after it has fallen to the right.
// By another rule: a point is inside where a ray from it crosses the outline an odd number of
// times.
bool IsInside(std::span<const Point> corners, double x, double y) {
  bool inside = false;
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const Point& a = corners[i];
    const Point& b = corners[(i + 1) % corners.size()];
    if ((a.y > y) == (b.y > y)) continue;
    if (x < a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x)) inside = !inside;
  }
  return inside;
}

TEST(ImageTest, APolygonCoversThePixelsWhoseCentresAreInside) {
  NumpyRandom random(8);
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(round);
    std::vector<Point> corners(3 + static_cast<std::size_t>(round) % 3);
    for (Point& corner : corners) corner = {random.Uniform(-9, 29), random.Uniform(-9, 24)};
    Image image(20, 15);
    image.Polygon(corners, kBlack);
    for (std::size_t y = 0; y < image.height; ++y) {
      for (std::size_t x = 0; x < image.width; ++x) {
        const bool inside =
            IsInside(corners, static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5);
        ASSERT_EQ(image.At(x, y), inside ? kBlack : kWhite) << x << ", " << y;
      }
    }
  }
}

TEST(ImageTest, LargeLakesHavePicturesThatCanBeShown) {
  const auto drawn = [](std::size_t rows, std::size_t columns) {
    std::string lake = std::string(columns, 'F');
    for (std::size_t row = 1; row < rows; ++row) lake += "/" + std::string(columns, 'F');
    lake[0] = 'S';
    const auto env = MakeEnv("FrozenLake-v1", {{"desc", lake}});
    EXPECT_TRUE(env.ok() && (*env)->Reset(1).ok());
    const Image image = (*env)->RenderImage();
    return std::pair(image.width, image.height);
  };
  EXPECT_EQ(drawn(4, 8), std::pair(std::size_t{512}, std::size_t{256}));
  EXPECT_EQ(drawn(16, 16), std::pair(std::size_t{1024}, std::size_t{1024}));
  EXPECT_EQ(drawn(100, 50), std::pair(std::size_t{500}, std::size_t{1000}));
  EXPECT_EQ(drawn(2, 300), std::pair(std::size_t{1200}, std::size_t{8}));  // 4 pixels a square.
}

TEST(ImageTest, ThePoleLeansWhereItFalls) {
  const auto env = std::move(*MakeEnv("CartPole-v1"));
  ASSERT_TRUE(env->Reset(1).ok());
  while (!env->Step(kLeft)->ended()) {
  }
  ASSERT_GT(env->observation()[2], 0.2);
  const Image image = env->RenderImage();
  double sum = 0, count = 0;
  for (std::size_t x = 0; x < image.width; ++x) {
    for (std::size_t y = 0; y < image.height; ++y) {
      if (image.At(x, y) != Color{202, 152, 101}) continue;
      sum += static_cast<double>(x);
      ++count;
    }
  }
  const double cart = env->observation()[0] * 125 + 300;
  EXPECT_GT(sum / count, cart + 5);
}

}  // namespace
}  // namespace muster::envs
