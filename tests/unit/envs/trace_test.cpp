#include "envs/trace.h"

#include <gtest/gtest.h>

#include <sstream>

#include "envs/registry.h"

namespace muster::envs {
namespace {

std::string Trace(const std::string& name, const std::string& actions,
                  const EnvOptions& options = {}, std::uint64_t seed = 0) {
  const auto env = MakeEnv(name, options);
  EXPECT_TRUE(env.ok()) << env.status().message();
  std::ostringstream out;
  const Status status = TraceEnv(**env, seed, actions, "actions.txt", out);
  return out.str() + status.message();
}

TEST(TraceTest, WritesALineForEachResetAndStep) {
  EXPECT_EQ(Trace("ToyGym-v0", "1\n0\n\n0\n"),
            "{\"reset\": true, \"observation\": 1}\n"
            "{\"observation\": 2, \"reward\": 0.0, \"terminated\": false, \"truncated\": false}\n"
            "{\"observation\": 1, \"reward\": 2.0, \"terminated\": false, \"truncated\": true}\n"
            "{\"reset\": true, \"observation\": 1}\n"
            "{\"observation\": 0, \"reward\": 1.0, \"terminated\": false, \"truncated\": false}\n");
}

// What Gymnasium's reset(seed=123) gives, printed by Python.
TEST(TraceTest, DigitsReadBackAsTheSameDoubles) {
  EXPECT_EQ(Trace("CartPole-v1", "", {}, 123),
            "{\"reset\": true, \"observation\": [0.018235186114907265, -0.044617898762226105, "
            "-0.027964012697339058, -0.031562820076942444]}\n");
  // A multi-discrete observation is a list; a box of one element takes a number or a list.
  EXPECT_EQ(Trace("Blackjack-v1", "", {}, 1).substr(0, 32), "{\"reset\": true, \"observation\": [");
  EXPECT_EQ(Trace("Pendulum-v1", "0.5\n"), Trace("Pendulum-v1", "[0.5]\r\n"));
}

TEST(TraceTest, ABadLineIsNamed) {
  const auto failure = [](const std::string& name, const std::string& actions) {
    const std::string all = Trace(name, actions);
    return all.substr(all.rfind('\n') + 1);
  };
  EXPECT_EQ(failure("CartPole-v1", "1\n\nleft\n"),
            "actions.txt:3: 'left' is neither a number nor a list of numbers");
  EXPECT_EQ(failure("CartPole-v1", "\x1b[2J" + std::string(1000, 'x')),
            "actions.txt:1: '?[2J" + std::string(56, 'x') +
                "...' is neither a number nor a list of numbers");
  EXPECT_EQ(failure("CartPole-v1", "2"), "actions.txt:1: action is 2, outside of Discrete(2)");
  EXPECT_EQ(failure("CartPole-v1", "0.5"),
            "actions.txt:1: '0.5' is not a whole number, as Discrete(2) needs");
  EXPECT_EQ(failure("CartPole-v1", "[0, 1]"),
            "actions.txt:1: an action of Discrete(2) has 1 elements, not 2");
  EXPECT_EQ(failure("Pendulum-v1", "nan"), "actions.txt:1: action element 0 is NaN");
  for (const char* bad : {"[", "[]", "[1", "1]", "[1,]", "1 2", "1e999", "--1"}) {
    EXPECT_NE(failure("Pendulum-v1", bad).find("neither a number"), std::string::npos) << bad;
  }
}

TEST(TraceTest, NestedShapesBecomeNestedLists) {
  const Space space = Space::Box({2, 3}, 0, 1);
  EXPECT_EQ(JsonOf(space, std::vector<float>{1, 2, 3, 4, 5, -0.0F}),
            "[[1.0, 2.0, 3.0], [4.0, 5.0, -0.0]]");
}

}  // namespace
}  // namespace muster::envs
