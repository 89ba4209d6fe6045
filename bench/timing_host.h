// The host of a training that a benchmark times.
#pragma once

#include <chrono>
#include <cstdint>

#include "trainer/trainer_host.h"

namespace muster {

// Times the steps after the first `warm_up`.
class TimingHost : public TrainerHost {
 public:
  explicit TimingHost(std::uint64_t warm_up) : warm_up_(warm_up) {}
  void Started(std::uint64_t, std::uint64_t) override {}
  void StepDone(std::uint64_t step, std::uint64_t) override {
    if (step == warm_up_) begin_ = Clock::now();
    end_ = Clock::now();
  }
  Status SaveCheckpoint(const CheckpointNotice&) override { return {}; }
  bool StopRequested() override { return false; }
  double seconds() const { return std::chrono::duration<double>(end_ - begin_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  const std::uint64_t warm_up_;
  Clock::time_point begin_, end_;
};

}  // namespace muster
