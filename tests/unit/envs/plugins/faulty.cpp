// A plug-in that goes wrong in the way that its option says; two numbers in, two out.
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "envs/plugin/muster_env.h"

class Faulty {
 public:
  explicit Faulty(muster_env::Options& options)
      : fault_(options.Text("fault", "")), at_step_(options.Integer("at_step", 3)) {
    if (fault_ == "create_crash") std::raise(SIGSEGV);
    if (fault_ == "create_hang") std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }

  muster_env::Spec Describe() const {
    muster_env::Spec spec;
    spec.observation = muster_env::Space::Box({2}, -100, fault_ == "bounds" ? -200 : 100);
    spec.action = muster_env::Space::Box({2}, -1, 1);
    spec.steps_max = 20;
    return spec;
  }

  void Reset(muster_env::Random& random) {
    sums_[0] = random.Uniform(-1, 1);
    sums_[1] = 0;
    steps_ = 0;
  }

  muster_env::Step Act(muster_env::Action action, muster_env::Random& random) {
    sums_[0] += static_cast<double>(action.Number(0)) + random.Uniform(-0.1, 0.1);
    sums_[1] += static_cast<double>(action.Number(1));
    if (fault_ == "clock") sums_[1] += static_cast<double>(++calls_);
    if (++steps_ == at_step_) GoWrong();
    return {sums_[0], std::abs(sums_[1]) > 4, false};
  }

  void Observe(float* observation) const {
    observation[0] = static_cast<float>(sums_[0]);
    observation[1] = static_cast<float>(sums_[1]);
    if (fault_ == "nan" && steps_ == at_step_) observation[1] = std::nanf("");
  }

 private:
  void GoWrong() {
    if (fault_ == "throw") throw std::runtime_error("the simulator has no licence");
    if (fault_ == "crash") std::raise(SIGSEGV);
    if (fault_ == "overflow") sums_[0] += Overflow(steps_);
    if (fault_ == "exit") std::exit(0);
    if (fault_ == "hang") std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }

  // Ends when the stack does.
  static double Overflow(long depth) {
    volatile double kept[512];
    kept[depth % 512] = static_cast<double>(depth);
    return depth < 0 ? 0 : Overflow(depth + 1) + kept[depth % 512];
  }

  std::string fault_;
  long at_step_, steps_ = 0, calls_ = 0;
  double sums_[2] = {0, 0};
};

MUSTER_ENV(Faulty)
