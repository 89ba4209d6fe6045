// Policy iteration, each policy evaluated exactly.
// Source: Sutton and Barto, 2nd edition, sections 4.1 and 4.3; Howard, "Dynamic programming and
// Markov processes", 1960.
#include <cmath>
#include <utility>

#include "trainer/rl/tabular/dynamic_programming.h"

namespace muster::rl {
namespace {

// Solves A x = b, A [n, n] row-major, by Gaussian elimination with partial pivoting; x replaces b.
// False where A has no inverse, to within rounding.
bool Solve(std::vector<double>& a, std::vector<double>& b) {
  constexpr double kSingular = 1e-12;
  const std::size_t n = b.size();
  for (std::size_t k = 0; k < n; ++k) {
    std::size_t pivot = k;
    for (std::size_t i = k + 1; i < n; ++i) {
      if (std::abs(a[i * n + k]) > std::abs(a[pivot * n + k])) pivot = i;
    }
    if (std::abs(a[pivot * n + k]) < kSingular) return false;
    if (pivot != k) {
      for (std::size_t j = k; j < n; ++j) std::swap(a[k * n + j], a[pivot * n + j]);
      std::swap(b[k], b[pivot]);
    }
    for (std::size_t i = k + 1; i < n; ++i) {
      const double factor = a[i * n + k] / a[k * n + k];
      if (factor == 0) continue;  // Most: a state leads to few others.
      for (std::size_t j = k; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
      b[i] -= factor * b[k];
    }
  }
  for (std::size_t k = n; k-- > 0;) {
    for (std::size_t j = k + 1; j < n; ++j) b[k] -= a[k * n + j] * b[j];
    b[k] /= a[k * n + k];
  }
  return true;
}

}  // namespace

Result<std::vector<double>> PolicyValues(const envs::TabularModel& model,
                                         std::span<const std::size_t> policy, double discount) {
  const std::size_t n = model.states();
  std::vector<double> a(n * n), b(n);  // (I - gamma P) V = r
  for (std::size_t state = 0; state < n; ++state) {
    a[state * n + state] += 1;
    for (const envs::TabularOutcome& outcome : model.Outcomes(state, policy[state])) {
      b[state] += outcome.probability * outcome.reward;
      if (outcome.terminated) continue;
      a[state * n + static_cast<std::size_t>(outcome.next)] -= discount * outcome.probability;
    }
  }
  if (Solve(a, b)) return b;
  return InvalidArgument(
      "a policy that never ends has no value without a discount; give a discount below 1");
}

}  // namespace muster::rl
