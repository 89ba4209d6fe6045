#include "nn/optim/gradient_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace muster::nn {
namespace {

TEST(GradientNormTest, MatchesHandWorkedExample) {
  EXPECT_EQ(GradientNorm(std::vector<float>{3, 0, -4}, nullptr), 5.0);
  EXPECT_EQ(GradientNorm({}, nullptr), 0.0);
}

TEST(GradientNormTest, HasTheSameBitsOnAnyNumberOfThreads) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> gradients(5 * 65536 + 777);
  double squares = 0.0;
  for (float& g : gradients) {
    g = normal(random);
    squares += static_cast<double>(g) * static_cast<double>(g);
  }
  const double one = GradientNorm(gradients, nullptr);
  EXPECT_NEAR(one, std::sqrt(squares), 1e-9 * one);
  for (std::size_t threads : {2, 3}) {
    ThreadPool pool(threads);
    EXPECT_EQ(GradientNorm(gradients, &pool), one);
  }
}

TEST(GradientNormTest, ScalesDownToTheLimitAndNeverUp) {
  EXPECT_EQ(ClipScale(5.0, 1.0), 0.2F);
  EXPECT_EQ(ClipScale(0.5, 1.0), 1.0F);
  EXPECT_EQ(ClipScale(5.0, 0.0), 1.0F);
}

TEST(GradientNormTest, TellsNan) {
  std::vector<float> gradients(100, 1.0F);
  gradients[57] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(GradientNorm(gradients, nullptr)));
}

}  // namespace
}  // namespace muster::nn
