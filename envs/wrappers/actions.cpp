#include "envs/wrappers/actions.h"

#include <algorithm>
#include <cmath>

#include "base/philox.h"
#include "base/random_key.h"
#include "envs/wrappers/vector_wrapper.h"

namespace muster::envs {
namespace {

// Actions are float boxes, each number changed by itself before it goes in.
class MappedActions : public VectorWrapper {
 public:
  MappedActions(std::unique_ptr<VectorEnv> inner, EnvSpec spec)
      : VectorWrapper(std::move(inner), std::move(spec)),
        mapped_(DType::kFloat32, envs() * spec_.action.elements()) {}

  Status Step(ConstValues actions) override {
    MUSTER_RETURN_IF_ERROR(CheckStep(actions, {}));
    const auto given = actions.As<float>();
    const auto mapped = mapped_.As<float>();
    const std::size_t width = spec_.action.elements();
    for (std::size_t i = 0; i < given.size(); ++i) mapped[i] = Map(given[i], i % width);
    return inner().Step(mapped_);
  }

 protected:
  virtual float Map(float action, std::size_t element) const = 0;

 private:
  ValueArray mapped_;
};

class Clipped final : public MappedActions {
 public:
  Clipped(std::unique_ptr<VectorEnv> inner, EnvSpec spec)
      : MappedActions(std::move(inner), std::move(spec)), bounds_(this->inner().spec().action) {}

 protected:
  float Map(float action, std::size_t element) const override {
    return std::clamp(action, static_cast<float>(bounds_.low[element]),
                      static_cast<float>(bounds_.high[element]));
  }

 private:
  Space bounds_;
};

class Scaled final : public MappedActions {
 public:
  Scaled(std::unique_ptr<VectorEnv> inner, EnvSpec spec)
      : MappedActions(std::move(inner), std::move(spec)), bounds_(this->inner().spec().action) {}

 protected:
  float Map(float action, std::size_t element) const override {
    const double low = bounds_.low[element], high = bounds_.high[element];
    return static_cast<float>(low + (static_cast<double>(action) + 1) / 2 * (high - low));
  }

 private:
  Space bounds_;
};

class Sticky final : public VectorWrapper {
 public:
  Sticky(std::unique_ptr<VectorEnv> wrapped, EnvSpec spec, double probability)
      : VectorWrapper(std::move(wrapped), std::move(spec)),
        probability_(probability),
        seeds_(envs()),
        draws_(envs()),
        taken_(spec_.action.dtype, envs() * spec_.action.elements()) {}

  Status Reset(std::span<const std::uint64_t> seeds) override {
    std::copy(seeds.begin(), seeds.end(), seeds_.begin());
    std::fill(draws_.begin(), draws_.end(), 0);
    return inner().Reset(seeds);
  }

  Status Step(ConstValues actions) override {
    MUSTER_RETURN_IF_ERROR(CheckStep(actions, {}));
    const std::size_t width = spec_.action.elements();
    for (std::size_t i = 0; i < envs(); ++i) {
      const PhiloxBlock block =
          RandomBlock(seeds_[i], RandomPurpose::kAction, kStream, draws_[i]++);
      const bool sticks = UnitDouble(block[0], block[1]) < probability_;
      if (inner().started()[i] != 0 || !sticks) {
        taken_.Set(i * width, actions.Part(i * width, width));
      }
    }
    return inner().Step(taken_);
  }

  Status SaveOne(std::size_t env, ByteWriter& to) const override {
    const std::size_t width = spec_.action.elements();
    to.Put(seeds_[env]);
    to.Put(draws_[env]);
    const ConstValues taken = taken_.Part(env * width, width);
    to.PutAll(std::span(static_cast<const char*>(taken.data), taken.bytes()));
    return inner().SaveOne(env, to);
  }
  Status LoadOne(std::size_t env, ByteReader& from) override {
    const std::size_t bytes = spec_.action.bytes();
    from.Get(seeds_[env]);
    from.Get(draws_[env]);
    from.GetAll(taken_.bytes().subspan(env * bytes, bytes));
    return inner().LoadOne(env, from);
  }

 private:
  static constexpr std::uint32_t kStream = 0xFFFFFFFFU;  // Of lanes that there are not.
  double probability_;
  std::vector<std::uint64_t> seeds_, draws_;
  ValueArray taken_;
};

Status NeedsBox(const VectorEnv& env, const char* what, bool finite) {
  const Space& space = env.spec().action;
  if (space.kind != SpaceKind::kBox || space.dtype != DType::kFloat32) {
    return InvalidArgument(std::string(what) + " needs actions that are a box of float32; " +
                           env.spec().name + " has " + space.Text());
  }
  for (std::size_t i = 0; finite && i < space.elements(); ++i) {
    if (!std::isfinite(space.low[i]) || !std::isfinite(space.high[i])) {
      return InvalidArgument(std::string(what) + " needs finite bounds; " + env.spec().name +
                             " has " + space.Text());
    }
  }
  return {};
}

EnvSpec WithActionBounds(EnvSpec spec, double low, double high) {
  std::fill(spec.action.low.begin(), spec.action.low.end(), low);
  std::fill(spec.action.high.begin(), spec.action.high.end(), high);
  return spec;
}

}  // namespace

Result<std::unique_ptr<VectorEnv>> ClipActions(std::unique_ptr<VectorEnv> inner) {
  MUSTER_RETURN_IF_ERROR(NeedsBox(*inner, "clipping actions", false));
  EnvSpec spec = WithActionBounds(inner->spec(), -INFINITY, INFINITY);
  return std::unique_ptr<VectorEnv>(std::make_unique<Clipped>(std::move(inner), std::move(spec)));
}

Result<std::unique_ptr<VectorEnv>> ScaleActions(std::unique_ptr<VectorEnv> inner) {
  MUSTER_RETURN_IF_ERROR(NeedsBox(*inner, "scaling actions", true));
  EnvSpec spec = WithActionBounds(inner->spec(), -1, 1);
  return std::unique_ptr<VectorEnv>(std::make_unique<Scaled>(std::move(inner), std::move(spec)));
}

Result<std::unique_ptr<VectorEnv>> StickyActions(std::unique_ptr<VectorEnv> inner,
                                                 double probability) {
  if (!(probability >= 0 && probability <= 1)) {
    return InvalidArgument("the probability of sticky actions is not in 0..1");
  }
  EnvSpec spec = inner->spec();
  return std::unique_ptr<VectorEnv>(
      std::make_unique<Sticky>(std::move(inner), std::move(spec), probability));
}

}  // namespace muster::envs
