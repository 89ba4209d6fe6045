#include "envs/wrappers/observations.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "envs/wrappers/vector_wrapper.h"

namespace muster::envs {
namespace {

// Observations of its own, made from the inner ones after every call.
class MappedObservations : public VectorWrapper {
 public:
  MappedObservations(std::unique_ptr<VectorEnv> wrapped, EnvSpec spec)
      : VectorWrapper(std::move(wrapped), std::move(spec)),
        seen_(spec_.observation.dtype, envs() * spec_.observation.elements()),
        final_(spec_.observation.dtype, envs() * spec_.observation.elements()) {}

  Status Reset(std::span<const std::uint64_t> seeds) override {
    MUSTER_RETURN_IF_ERROR(inner().Reset(seeds));
    for (std::size_t i = 0; i < envs(); ++i) Begun(i);
    return {};
  }
  Status Step(ConstValues actions) override {
    MUSTER_RETURN_IF_ERROR(inner().Step(actions));
    for (std::size_t i = 0; i < envs(); ++i) {
      if (inner().started()[i] == 0) {
        Moved(i);
      } else {
        if (Ended(i)) Finished(i);
        Begun(i);
      }
    }
    return {};
  }
  Status ResetEnded() override {
    MUSTER_RETURN_IF_ERROR(inner().ResetEnded());
    for (std::size_t i = 0; i < envs(); ++i) {
      if (inner().started()[i] != 0) Begun(i);
    }
    return {};
  }
  ConstValues observations() const override { return seen_; }
  ConstValues final_observations() const override { return final_; }

 protected:
  // The inner observation of this environment is an episode's first; a later one; and there is an
  // inner final observation, before Begun is told of the next episode.
  virtual void Begun(std::size_t env) = 0;
  virtual void Moved(std::size_t env) = 0;
  virtual void Finished(std::size_t env) = 0;

  ConstValues Inner(std::size_t env) const { return Row(inner().observations(), env); }
  ConstValues InnerFinal(std::size_t env) const { return Row(inner().final_observations(), env); }

  ValueArray seen_, final_;

 private:
  ConstValues Row(ConstValues values, std::size_t env) const {
    const std::size_t width = inner().spec().observation.elements();
    return values.Part(env * width, width);
  }
};

// An observation is some parts (a whole, or pixels), and of each there is a stack.
class FrameStack final : public MappedObservations {
 public:
  FrameStack(std::unique_ptr<VectorEnv> wrapped, EnvSpec spec, std::size_t frames,
             std::size_t parts)
      : MappedObservations(std::move(wrapped), std::move(spec)),
        frames_(frames),
        parts_(parts),
        width_(inner().spec().observation.elements() / parts) {}

  Status SaveOne(std::size_t env, ByteWriter& to) const override {
    const std::size_t elements = spec_.observation.elements();
    const ConstValues stack = seen_.Part(env * elements, elements);
    to.PutAll(std::span(static_cast<const char*>(stack.data), stack.bytes()));
    return inner().SaveOne(env, to);
  }
  Status LoadOne(std::size_t env, ByteReader& from) override {
    const std::size_t bytes = spec_.observation.bytes();
    from.GetAll(seen_.bytes().subspan(env * bytes, bytes));
    return inner().LoadOne(env, from);
  }

 protected:
  void Begun(std::size_t env) override {
    const ConstValues first = Inner(env);
    for (std::size_t part = 0; part < parts_; ++part) {
      for (std::size_t k = 0; k < frames_; ++k) {
        seen_.Set(Place(env, part, k), first.Part(part * width_, width_));
      }
    }
  }
  void Moved(std::size_t env) override { Push(seen_, env, Inner(env)); }
  void Finished(std::size_t env) override { Push(final_, env, InnerFinal(env)); }

 private:
  // Of a part's frame, in elements.
  std::size_t Place(std::size_t env, std::size_t part, std::size_t frame) const {
    return ((env * parts_ + part) * frames_ + frame) * width_;
  }
  // The newer frames of the stack that is seen, and this one.
  void Push(ValueArray& to, std::size_t env, ConstValues newest) {
    const std::size_t bytes = width_ * BytesOf(spec_.observation.dtype);
    for (std::size_t part = 0; part < parts_; ++part) {
      const std::size_t at = (env * parts_ + part) * frames_ * bytes;
      std::memmove(to.bytes().data() + at, seen_.bytes().data() + at + bytes,
                   (frames_ - 1) * bytes);
      to.Set(Place(env, part, frames_ - 1), newest.Part(part * width_, width_));
    }
  }

  std::size_t frames_, parts_, width_;
};

// Float observations, number by number.
class FloatObservations : public MappedObservations {
 public:
  using MappedObservations::MappedObservations;

  Status LoadOne(std::size_t env, ByteReader& from) override {
    MUSTER_RETURN_IF_ERROR(inner().LoadOne(env, from));
    Map(Inner(env), env, seen_);
    return {};
  }

 protected:
  void Begun(std::size_t env) override { Map(Inner(env), env, seen_); }
  void Moved(std::size_t env) override { Map(Inner(env), env, seen_); }
  void Finished(std::size_t env) override { Map(InnerFinal(env), env, final_); }
  virtual void MapRow(std::span<const float> values, std::span<float> mapped) const = 0;
  void Map(ConstValues from, std::size_t env, ValueArray& to) const {
    const auto values = from.As<float>();
    MapRow(values, to.As<float>().subspan(env * values.size(), values.size()));
  }
};

class ClippedObservations final : public FloatObservations {
 public:
  ClippedObservations(std::unique_ptr<VectorEnv> wrapped, EnvSpec spec, double low, double high)
      : FloatObservations(std::move(wrapped), std::move(spec)),
        low_(static_cast<float>(low)),
        high_(static_cast<float>(high)) {}

 protected:
  void MapRow(std::span<const float> values, std::span<float> mapped) const override {
    for (std::size_t k = 0; k < values.size(); ++k) {
      mapped[k] = std::clamp(values[k], low_, high_);
    }
  }

 private:
  float low_, high_;
};

class NormalizedObservations final : public FloatObservations, public Normalizer {
 public:
  NormalizedObservations(std::unique_ptr<VectorEnv> wrapped, EnvSpec spec,
                         const NormalizationOptions& options)
      : FloatObservations(std::move(wrapped), std::move(spec)),
        options_(options),
        sums_(envs(), spec_.observation.elements()),
        mean_(spec_.observation.elements(), 0.0),
        scale_(spec_.observation.elements(), 1.0) {
    NormalizedObservations::Use(Moments(elements()));
  }

  std::size_t elements() const override { return mean_.size(); }
  void Use(const Moments& moments) override {
    MUSTER_CHECK(moments.mean.size() == elements(), "moments of another number of elements");
    mean_ = moments.mean;
    for (std::size_t k = 0; k < elements(); ++k) {
      scale_[k] = 1 / std::sqrt(moments.variance[k] + options_.epsilon);
    }
    for (std::size_t env = 0; env < envs(); ++env) Map(Inner(env), env, seen_);
  }
  MomentSums Take(std::size_t first, std::size_t count) override {
    return sums_.Take(first, count);
  }

  Status SaveOne(std::size_t env, ByteWriter& to) const override {
    sums_.SaveOne(env, to);
    return inner().SaveOne(env, to);
  }
  Status LoadOne(std::size_t env, ByteReader& from) override {
    sums_.LoadOne(env, from);
    return FloatObservations::LoadOne(env, from);
  }

 protected:
  void Begun(std::size_t env) override {
    sums_.Add(env, Inner(env).As<float>());
    FloatObservations::Begun(env);
  }
  void Moved(std::size_t env) override {
    sums_.Add(env, Inner(env).As<float>());
    FloatObservations::Moved(env);
  }
  // An episode's last observation counts as well.
  void Finished(std::size_t env) override {
    sums_.Add(env, InnerFinal(env).As<float>());
    FloatObservations::Finished(env);
  }
  void MapRow(std::span<const float> values, std::span<float> mapped) const override {
    for (std::size_t k = 0; k < values.size(); ++k) {
      const double normalized = (static_cast<double>(values[k]) - mean_[k]) * scale_[k];
      mapped[k] = static_cast<float>(std::clamp(normalized, -options_.limit, options_.limit));
    }
  }

 private:
  NormalizationOptions options_;
  EnvSums sums_;
  std::vector<double> mean_, scale_;
};

Status NeedsFloats(const VectorEnv& env, const char* what) {
  if (env.spec().observation.dtype == DType::kFloat32) return {};
  return InvalidArgument(std::string(what) + " needs float32 observations; " + env.spec().name +
                         " has " + env.spec().observation.Text());
}

EnvSpec WithObservationBounds(EnvSpec spec, double low, double high) {
  for (double& bound : spec.observation.low) bound = std::max(bound, low);
  for (double& bound : spec.observation.high) bound = std::min(bound, high);
  return spec;
}

}  // namespace

Result<std::unique_ptr<VectorEnv>> StackFrames(std::unique_ptr<VectorEnv> inner, std::size_t frames,
                                               StackAxis axis) {
  if (frames == 0) return InvalidArgument("a stack needs at least one frame");
  EnvSpec spec = inner->spec();
  Space& space = spec.observation;
  if (space.kind != SpaceKind::kBox) {
    return InvalidArgument("stacking frames needs observations that are a box; " + spec.name +
                           " has " + space.Text());
  }
  std::size_t parts = 1;
  if (axis == StackAxis::kChannels) {
    if (space.shape.size() != 2 && space.shape.size() != 3) {
      return InvalidArgument(
          "stacking channels needs pictures [height, width] or [height, width, channels]; " +
          spec.name + " has " + space.Text());
    }
    parts = space.shape[0] * space.shape[1];
    if (space.shape.size() == 2) space.shape.push_back(1);
    space.shape[2] *= frames;
  } else {
    space.shape.insert(space.shape.begin(), frames);
  }
  for (std::vector<double>* const bounds : {&space.low, &space.high}) {
    const std::vector<double> one = std::exchange(*bounds, {});
    const auto width = static_cast<std::ptrdiff_t>(one.size() / parts);
    for (auto part = one.begin(); part != one.end(); part += width) {
      for (std::size_t k = 0; k < frames; ++k) {
        bounds->insert(bounds->end(), part, part + width);
      }
    }
  }
  spec.elements.clear();
  return std::unique_ptr<VectorEnv>(
      std::make_unique<FrameStack>(std::move(inner), std::move(spec), frames, parts));
}

Result<std::unique_ptr<VectorEnv>> ClipObservations(std::unique_ptr<VectorEnv> inner, double low,
                                                    double high) {
  MUSTER_RETURN_IF_ERROR(NeedsFloats(*inner, "clipping observations"));
  if (!(low <= high)) return InvalidArgument("the bounds of clipped observations are reversed");
  EnvSpec spec = WithObservationBounds(inner->spec(), low, high);
  return std::unique_ptr<VectorEnv>(
      std::make_unique<ClippedObservations>(std::move(inner), std::move(spec), low, high));
}

Result<std::unique_ptr<VectorEnv>> NormalizeObservations(std::unique_ptr<VectorEnv> inner,
                                                         const NormalizationOptions& options,
                                                         Normalizer** normalizer) {
  MUSTER_RETURN_IF_ERROR(NeedsFloats(*inner, "normalising observations"));
  EnvSpec spec = inner->spec();
  std::fill(spec.observation.low.begin(), spec.observation.low.end(), -options.limit);
  std::fill(spec.observation.high.begin(), spec.observation.high.end(), options.limit);
  auto made = std::make_unique<NormalizedObservations>(std::move(inner), std::move(spec), options);
  *normalizer = made.get();
  return std::unique_ptr<VectorEnv>(std::move(made));
}

}  // namespace muster::envs
