// Makes environments and batches of each kind of classic control.
#include "envs/classic/acrobot.h"
#include "envs/classic/cart_pole.h"
#include "envs/classic/classic_batch.h"
#include "envs/classic/classic_env.h"
#include "envs/classic/easy_cart.h"
#include "envs/classic/mountain_car.h"
#include "envs/classic/mountain_car_continuous.h"
#include "envs/classic/pendulum.h"
#include "envs/classic/spin_cart.h"
#include "envs/registry.h"

namespace muster::envs {
namespace {

template <class D>
EnvEntry Entry(std::string summary) {
  OptionReader defaults({});
  return {D(defaults).Spec().name, "classic", std::move(summary),
          [](OptionReader& options) { return std::make_unique<ClassicEnv<D>>(D(options)); },
          [](OptionReader& options, std::size_t steps_max, const VectorOptions& batch) {
            D dynamics(options);
            EnvSpec spec = dynamics.Spec();
            spec.steps_max = steps_max;
            return std::make_unique<ClassicBatch<D>>(std::move(dynamics), std::move(spec), batch);
          }};
}

}  // namespace

std::vector<EnvEntry> ClassicEntries() {
  return {Entry<CartPole>("balance a pole on a cart"),
          Entry<MountainCar>("swing a weak car up a hill"),
          Entry<MountainCarContinuous>("the same with a continuous force"),
          Entry<Acrobot>("swing two links above a line"),
          Entry<Pendulum>("swing a pendulum up and hold it"),
          Entry<EasyCart>("CartPole, paid for standing upright in the middle"),
          Entry<SpinCart>("CartPole, paid for spinning the pole")};
}

}  // namespace muster::envs
