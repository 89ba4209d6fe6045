// VectorEnv: many environments of one kind that step together.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "envs/env.h"

namespace muster::envs {

// What happens to an environment whose episode ends. In each mode a step's flags and reward tell
// of the step that ended it.
enum class Autoreset : std::uint8_t {
  // It is reset within the step: observations() has the next episode's first observation,
  // final_observations() the last of the one that ended. What trainers use.
  kSameStep,
  // observations() has the final observation; the next step resets it instead of acting: its action
  // is ignored, its reward 0. Gymnasium's default.
  kNextStep,
  // It stays as it is until ResetEnded(); a step before that is refused.
  kDisabled,
};

struct VectorOptions {
  std::size_t envs = 1;
  Autoreset autoreset = Autoreset::kSameStep;
};

// Every environment has its own generator and does not depend on the others: its results are the
// same alone and in any batch. One thread at a time.
class VectorEnv {
 public:
  virtual ~VectorEnv() = default;
  VectorEnv(const VectorEnv&) = delete;
  VectorEnv& operator=(const VectorEnv&) = delete;

  const EnvSpec& spec() const { return spec_; }
  std::size_t envs() const { return options_.envs; }
  Autoreset autoreset() const { return options_.autoreset; }

  // Begins an episode in every environment, the i-th from seeds[i].
  virtual Status Reset(std::span<const std::uint64_t> seeds) = 0;
  // The same with seeds first_seed, first_seed + 1, ...: as Gymnasium's vector environments. Give
  // lane l of n environments first_seed + l * n, and it is the same on any number of ranks.
  Status ResetFrom(std::uint64_t first_seed);

  // `actions` [envs, elements of the action space]. kInvalidArgument names the environment whose
  // action is not in the space, before anything has moved; kFailedPrecondition see kDisabled. Where
  // an environment itself fails (a plug-in), the batch must be reset.
  virtual Status Step(ConstValues actions) = 0;
  // Autoreset::kDisabled: begins an episode where one has ended.
  virtual Status ResetEnded() = 0;

  // What the newest call gave; valid until the next one.
  virtual ConstValues observations() const = 0;                  // [envs, elements]
  virtual std::span<const float> rewards() const = 0;            // [envs]
  virtual std::span<const std::uint8_t> terminated() const = 0;  // [envs], 0 or 1
  virtual std::span<const std::uint8_t> truncated() const = 0;   // [envs]
  virtual std::span<const std::uint8_t> started() const = 0;  // [envs]: observation is a first one
  // [envs, elements]; only rows whose episode ended in this step mean anything. Same-step mode.
  virtual ConstValues final_observations() const = 0;

  // The exact state of environments first .. first + count - 1, with what the newest step gave
  // except for final observations.
  Status Save(std::size_t first, std::size_t count, std::string& bytes) const;
  // Puts such a state to `first` on, here or in another batch of the same kind; other environments
  // stay as they are. kDataLoss where the bytes are damaged: the slice must be reset then.
  Status Load(std::size_t first, std::string_view bytes);

  // One environment's part of Save and Load; wrappers add their own.
  virtual Status SaveOne(std::size_t env, ByteWriter& to) const = 0;
  virtual Status LoadOne(std::size_t env, ByteReader& from) = 0;

 protected:
  VectorEnv(EnvSpec spec, const VectorOptions& options);
  // The checks that Step promises; `ended` [envs] is nonzero where an episode has ended.
  Status CheckStep(ConstValues actions, std::span<const std::uint8_t> ended) const;

  EnvSpec spec_;
  VectorOptions options_;
};

// The arrays that batches answer from, with room for a multiple of four environments.
struct VectorResults {
  ValueArray observations, final_observations;
  std::vector<float> rewards;
  std::vector<std::uint8_t> terminated, truncated, started;

  VectorResults(const Space& space, std::size_t envs);
  // Those of one environment but its final observation.
  void SaveOne(std::size_t env, ByteWriter& to) const;
  void LoadOne(std::size_t env, ByteReader& from);

 private:
  std::size_t row_bytes_;  // Of an observation.
};

// Steps environments of any kind one after the other. All must have the same spec; at least one.
std::unique_ptr<VectorEnv> Batch(std::vector<std::unique_ptr<Env>> envs, Autoreset autoreset);

}  // namespace muster::envs
