#include "envs/wrappers/moments.h"

#include <algorithm>

#include "base/check.h"

namespace muster::envs {

void Moments::Add(const MomentSums& sums) {
  if (sums.count == 0) return;
  MUSTER_CHECK(sums.sum.size() == mean.size(), "sums of another number of elements");
  const double total = count + sums.count;
  for (std::size_t k = 0; k < mean.size(); ++k) {
    const double batch_mean = sums.sum[k] / sums.count;
    const double batch_variance =
        std::max(0.0, sums.square[k] / sums.count - batch_mean * batch_mean);
    const double delta = batch_mean - mean[k];
    const double squares = variance[k] * count + batch_variance * sums.count +
                           delta * delta * count * sums.count / total;
    mean[k] += delta * sums.count / total;
    variance[k] = squares / total;
  }
  count = total;
}

MomentSums EnvSums::Take(std::size_t first, std::size_t count) {
  MUSTER_CHECK(first + count <= count_.size(), "a slice beyond the batch");
  MomentSums sums{
      .count = 0, .sum = std::vector<double>(elements_), .square = std::vector<double>(elements_)};
  for (std::size_t env = first; env < first + count; ++env) {
    sums.count += count_[env];
    count_[env] = 0;
    for (std::size_t k = 0; k < elements_; ++k) {
      sums.sum[k] += sum_[env * elements_ + k];
      sums.square[k] += square_[env * elements_ + k];
      sum_[env * elements_ + k] = square_[env * elements_ + k] = 0;
    }
  }
  return sums;
}

void EnvSums::SaveOne(std::size_t env, ByteWriter& to) const {
  to.Put(count_[env]);
  to.PutAll(std::span<const double>(&sum_[env * elements_], elements_));
  to.PutAll(std::span<const double>(&square_[env * elements_], elements_));
}

void EnvSums::LoadOne(std::size_t env, ByteReader& from) {
  from.Get(count_[env]);
  from.GetAll(std::span<double>(&sum_[env * elements_], elements_));
  from.GetAll(std::span<double>(&square_[env * elements_], elements_));
}

}  // namespace muster::envs
