// Moments for normalisation that lanes sum up and trainers merge, the same on any number of ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "envs/bytes.h"

namespace muster::envs {

// Count, sums and sums of squares of the numbers that some environments saw. Sums of several of
// them add up element by element: reduce them over lanes in the fixed tree, then update the
// moments.
struct MomentSums {
  double count = 0;                 // Of observations.
  std::vector<double> sum, square;  // [elements]
};

// What the trainer holds and a checkpoint keeps.
struct Moments {
  double count = 0;
  std::vector<double> mean, variance;  // [elements]; 0 and 1 before anything is known.

  explicit Moments(std::size_t elements) : mean(elements, 0.0), variance(elements, 1.0) {}
  // Merges a batch of sums. Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise
  // algorithm for computing sample variances", 1979.
  void Add(const MomentSums& sums);
};

// The side of a normalising wrapper that trainers talk to.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual std::size_t elements() const = 0;
  // The moments from now on, for the newest observation too, which the next action answers; until
  // the first call 0 and 1.
  virtual void Use(const Moments& moments) = 0;
  // What environments first .. first + count - 1 have seen since the last call, added up in their
  // order; begins anew.
  virtual MomentSums Take(std::size_t first, std::size_t count) = 0;
};

// Sums of each environment on its own, so that they are lane state.
class EnvSums {
 public:
  EnvSums(std::size_t envs, std::size_t elements)
      : elements_(elements), count_(envs), sum_(envs * elements), square_(envs * elements) {}

  template <class T>
  void Add(std::size_t env, std::span<const T> values) {
    count_[env] += 1;
    for (std::size_t k = 0; k < elements_; ++k) {
      const auto value = static_cast<double>(values[k]);
      sum_[env * elements_ + k] += value;
      square_[env * elements_ + k] += value * value;
    }
  }
  MomentSums Take(std::size_t first, std::size_t count);
  void SaveOne(std::size_t env, ByteWriter& to) const;
  void LoadOne(std::size_t env, ByteReader& from);

 private:
  std::size_t elements_;
  std::vector<double> count_, sum_, square_;
};

}  // namespace muster::envs
