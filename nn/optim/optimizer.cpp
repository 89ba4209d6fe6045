#include "nn/optim/optimizer.h"

#include <cmath>

#include "base/aligned_vector.h"
#include "base/check.h"
#include "nn/optim/blocks.h"
#include "tensor/kernels/blocks.h"

namespace muster::nn {

namespace {

// A run of the flat vector whose elements are treated alike; no longer than a flat block.
struct Segment {
  std::size_t begin, end;
  float decay;
};

// Counted in the ranges, one after another.
std::vector<Segment> SegmentsOf(const ParameterSet& parameters, float weight_decay,
                                std::span<const FlatRange> ranges) {
  const std::vector<std::size_t> ascending = parameters.ReadyOrder();
  std::vector<Segment> segments;
  std::size_t start = 0;  // Of the range.
  std::size_t first = 0;  // Of `ascending` that may reach into it.
  for (const FlatRange& range : ranges) {
    for (std::size_t i = first; i < ascending.size(); ++i) {
      const ParameterSpec& spec = parameters[ascending[i]];
      const std::size_t spec_end = spec.offset + spec.shape.elements();
      if (spec_end <= range.begin) first = i + 1;
      if (spec.offset >= range.end) break;
      const std::size_t end = std::min(spec_end, range.end);
      for (std::size_t at = std::max(spec.offset, range.begin); at < end; at += kFlatBlock) {
        segments.push_back({at - range.begin + start,
                            std::min(end, at + kFlatBlock) - range.begin + start,
                            spec.decay ? weight_decay : 0.0F});
      }
    }
    start += range.size();
  }
  return segments;
}

// Elements of all ranges.
std::size_t ElementsOf(const ParameterSet& parameters, std::span<const FlatRange> ranges) {
  std::size_t size = 0;
  std::size_t least = 0;
  for (const FlatRange& range : ranges) {
    MUSTER_CHECK(range.begin >= least && range.begin <= range.end &&
                     range.end <= parameters.trainable_elements(),
                 "an optimizer's ranges ascend, without overlap, among what is trained");
    least = range.end;
    size += range.size();
  }
  return size;
}

class FlatOptimizer : public Optimizer {
 public:
  FlatOptimizer(const OptimizerOptions& options, const ParameterSet& parameters,
                std::span<const FlatRange> ranges)
      : options_(options),
        elements_(ElementsOf(parameters, ranges)),
        segments_(SegmentsOf(parameters, options.weight_decay, ranges)) {}

 protected:
  template <class Body>
  void ForSegments(const OptimizerStep& step, std::span<float> values,
                   std::span<const float> gradients, ThreadPool* pool, const Body& body) {
    MUSTER_CHECK(values.size() == elements_ && gradients.size() == elements_ &&
                     (step.narrow_values.empty() || step.narrow_values.size() == elements_),
                 "values or gradients are not of the optimizer's size");
    ParallelFor(pool, segments_.size(), [&](std::size_t i) {
      const Segment& segment = segments_[i];
      body(segment);
      if (step.narrow_values.empty()) return;
      // Still in the cache.
      kernels::Convert(values.data() + segment.begin, step.narrow_values.data() + segment.begin,
                       segment.end - segment.begin);
    });
  }

  OptimizerOptions options_;
  std::size_t elements_;
  std::vector<Segment> segments_;
};

class Sgd : public FlatOptimizer {
 public:
  Sgd(const OptimizerOptions& options, const ParameterSet& parameters,
      std::span<const FlatRange> ranges)
      : FlatOptimizer(options, parameters, ranges),
        momentum_(options.momentum == 0.0F ? 0 : elements_) {}

  void Step(const OptimizerStep& step, std::span<float> values, std::span<const float> gradients,
            ThreadPool* pool) override {
    ForSegments(step, values, gradients, pool, [&](const Segment& segment) {
      if (momentum_.empty()) {
        Plain(step, segment, values.data(), gradients.data());
      } else {
        WithMomentum(step, segment, values.data(), gradients.data());
      }
    });
    ++steps_done_;
  }

  std::vector<NamedState> State() override {
    if (options_.momentum == 0.0F) return {};
    return {{"momentum", momentum_}};  // Also of a shard without elements.
  }

 private:
  static void Plain(const OptimizerStep& step, const Segment& segment, float* __restrict w,
                    const float* __restrict gradients) {
    for (std::size_t i = segment.begin; i < segment.end; ++i) {
      const float g = gradients[i] * step.gradient_scale + segment.decay * w[i];
      w[i] -= step.learning_rate * g;
    }
  }

  void WithMomentum(const OptimizerStep& step, const Segment& segment, float* __restrict w,
                    const float* __restrict gradients) {
    float* __restrict v = momentum_.data();
    const float m = options_.momentum;
    const float own = options_.nesterov ? 1.0F : 0.0F;
    const float from_v = options_.nesterov ? m : 1.0F;
    for (std::size_t i = segment.begin; i < segment.end; ++i) {
      const float g = gradients[i] * step.gradient_scale + segment.decay * w[i];
      v[i] = m * v[i] + g;
      w[i] -= step.learning_rate * (own * g + from_v * v[i]);
    }
  }

  AlignedVector<float> momentum_;
};

class Adam : public FlatOptimizer {
 public:
  Adam(const OptimizerOptions& options, const ParameterSet& parameters,
       std::span<const FlatRange> ranges)
      : FlatOptimizer(options, parameters, ranges), first_(elements_), second_(elements_) {}

  void Step(const OptimizerStep& step, std::span<float> values, std::span<const float> gradients,
            ThreadPool* pool) override {
    ++steps_done_;
    const auto t = static_cast<double>(steps_done_);
    const double correction1 = 1.0 - std::pow(static_cast<double>(options_.beta1), t);
    const double correction2 = 1.0 - std::pow(static_cast<double>(options_.beta2), t);
    // sqrt(v / correction2) + epsilon, or sqrt((v + ...)) corrected as a whole: the correction then
    // moves from the root to the step.
    const double root = 1.0 / std::sqrt(correction2);
    const double rate = static_cast<double>(step.learning_rate) / correction1;
    const Rates rates{.scale = step.gradient_scale,
                      .step = static_cast<float>(options_.epsilon_hat ? rate / root : rate),
                      .root = options_.epsilon_hat ? 1.0F : static_cast<float>(root),
                      .rate = step.learning_rate};
    ForSegments(step, values, gradients, pool, [&](const Segment& segment) {
      Update(rates, segment, values.data(), gradients.data());
    });
  }

  std::vector<NamedState> State() override {
    return {{"exp_avg", first_}, {"exp_avg_sq", second_}};
  }

 private:
  struct Rates {
    float scale, step, root, rate;
  };

  void Update(const Rates& rates, const Segment& segment, float* __restrict w,
              const float* __restrict gradients) {
    float* __restrict m = first_.data();
    float* __restrict v = second_.data();
    const bool decoupled = options_.kind == OptimizerKind::kAdamW;
    const float into_gradient = decoupled ? 0.0F : segment.decay;
    const float keep = decoupled ? 1.0F - rates.rate * segment.decay : 1.0F;
    const float beta1 = options_.beta1;
    const float beta2 = options_.beta2;
    const float epsilon = options_.epsilon;
    for (std::size_t i = segment.begin; i < segment.end; ++i) {
      const float g = gradients[i] * rates.scale + into_gradient * w[i];
      m[i] = beta1 * m[i] + (1.0F - beta1) * g;
      v[i] = beta2 * v[i] + (1.0F - beta2) * g * g;
      const float denominator = std::sqrt(v[i]) * rates.root + epsilon;
      w[i] = w[i] * keep - rates.step * (m[i] / denominator);
    }
  }

  AlignedVector<float> first_, second_;
};

class RmsProp : public FlatOptimizer {
 public:
  RmsProp(const OptimizerOptions& options, const ParameterSet& parameters,
          std::span<const FlatRange> ranges)
      : FlatOptimizer(options, parameters, ranges),
        squares_(elements_),
        momentum_(options.momentum == 0.0F ? 0 : elements_) {}

  void Step(const OptimizerStep& step, std::span<float> values, std::span<const float> gradients,
            ThreadPool* pool) override {
    ++steps_done_;
    ForSegments(step, values, gradients, pool, [&](const Segment& segment) {
      Update(step, segment, values.data(), gradients.data());
    });
  }

  std::vector<NamedState> State() override {
    std::vector<NamedState> state = {{"square_avg", squares_}};
    if (options_.momentum != 0.0F) state.push_back({"momentum", momentum_});
    return state;
  }

 private:
  void Update(const OptimizerStep& step, const Segment& segment, float* __restrict w,
              const float* __restrict gradients) {
    float* __restrict v = squares_.data();
    const float alpha = options_.alpha, rate = step.learning_rate;
    const auto direction = [&](std::size_t i) {
      const float g = gradients[i] * step.gradient_scale + segment.decay * w[i];
      v[i] = alpha * v[i] + (1.0F - alpha) * g * g;
      return g / (std::sqrt(v[i]) + options_.epsilon);
    };
    if (momentum_.empty()) {
      for (std::size_t i = segment.begin; i < segment.end; ++i) w[i] -= rate * direction(i);
      return;
    }
    float* __restrict m = momentum_.data();
    for (std::size_t i = segment.begin; i < segment.end; ++i) {
      m[i] = options_.momentum * m[i] + direction(i);
      w[i] -= rate * m[i];
    }
  }

  AlignedVector<float> squares_, momentum_;
};

}  // namespace

std::unique_ptr<Optimizer> MakeOptimizer(const OptimizerOptions& options,
                                         const ParameterSet& parameters) {
  return MakeOptimizer(options, parameters, FlatRange{0, parameters.trainable_elements()});
}

std::unique_ptr<Optimizer> MakeOptimizer(const OptimizerOptions& options,
                                         const ParameterSet& parameters, FlatRange range) {
  return MakeOptimizer(options, parameters, std::span<const FlatRange>(&range, 1));
}

std::unique_ptr<Optimizer> MakeOptimizer(const OptimizerOptions& options,
                                         const ParameterSet& parameters,
                                         std::span<const FlatRange> ranges) {
  if (options.kind == OptimizerKind::kSgd) {
    return std::make_unique<Sgd>(options, parameters, ranges);
  }
  if (options.kind == OptimizerKind::kRmsProp) {
    return std::make_unique<RmsProp>(options, parameters, ranges);
  }
  return std::make_unique<Adam>(options, parameters, ranges);
}

}  // namespace muster::nn
