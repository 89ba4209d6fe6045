#include "worker/tools/env_gif.h"

#include <algorithm>
#include <ostream>

#include "envs/gif.h"
#include "envs/sample.h"
#include "envs/trace.h"

namespace muster::tools {
namespace {

constexpr std::uint64_t kStepsOtherwise = 1'000;  // Of an episode that has no end.
constexpr std::size_t kFramesMax = 100'000;
constexpr unsigned kEndMs = 1'000;

bool IsDiscrete(const envs::Space& space) { return space.kind != envs::SpaceKind::kBox; }

std::string Counted(std::uint64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// One run of a policy, picture by picture.
class Recording {
 public:
  Recording(envs::Env& env, const EnvGifOptions& options) : env_(env) {
    const bool slow = IsDiscrete(env.spec().observation);
    frame_ms_ = static_cast<unsigned>(options.frame_ms.value_or(slow ? 250 : 50));
  }

  Status Reset(std::optional<std::uint64_t> seed) {
    MUSTER_RETURN_IF_ERROR(env_.Reset(seed));
    ++episodes_;
    sum_ = 0;
    return Draw(frame_ms_);
  }

  // Whether the episode has ended.
  Result<bool> Step(const envs::ValueArray& action) {
    MUSTER_ASSIGN_OR_RETURN(const envs::Transition step, env_.Step(action));
    ++steps_;
    sum_ += step.reward;
    if (step.ended()) returns_ += sum_;
    if (step.ended()) ++ended_;
    MUSTER_RETURN_IF_ERROR(Draw(step.ended() ? std::max(frame_ms_, kEndMs) : frame_ms_));
    return step.ended();
  }

  Status Write(const std::string& path, std::ostream& out) {
    MUSTER_RETURN_IF_ERROR(gif_.Write(path));
    out << path << ": " << Counted(gif_.frames(), "picture") << " of " << Counted(steps_, "step")
        << " in " << Counted(episodes_, "episode");
    if (ended_ > 0) out << ", mean return " << returns_ / static_cast<double>(ended_);
    if (ended_ < episodes_) out << (ended_ > 0 ? "; the last one" : "; it") << " had not ended";
    out << std::endl;
    return {};
  }

  std::uint64_t steps() const { return steps_; }
  std::uint64_t ended() const { return ended_; }

 private:
  Status Draw(unsigned delay_ms) {
    const envs::Image image = env_.RenderImage();
    const std::string& name = env_.spec().name;
    if (image.width == 0 || image.height == 0) {
      return InvalidArgument(name + " draws no pictures; `muster env play` shows it as text");
    }
    if (gif_.frames() == kFramesMax) {
      return InvalidArgument("more than 100,000 pictures: give fewer --steps or --episodes");
    }
    return gif_.Add(image, delay_ms).During(name);
  }

  envs::Env& env_;
  envs::GifWriter gif_;
  unsigned frame_ms_ = 0;
  std::uint64_t steps_ = 0, episodes_ = 0, ended_ = 0;
  double sum_ = 0, returns_ = 0;
};

}  // namespace

RandomPolicy::RandomPolicy(const envs::EnvSpec& spec, std::uint64_t seed)
    : spec_(spec), random_(seed) {}

Result<std::optional<envs::ValueArray>> RandomPolicy::Act() {
  envs::ValueArray action(spec_.action.dtype, spec_.action.elements());
  Sample(spec_.action, random_, action);
  return std::optional(std::move(action));
}

ListedPolicy::ListedPolicy(const envs::EnvSpec& spec, std::string text, std::string file)
    : spec_(spec), text_(std::move(text)), file_(std::move(file)) {}

Result<std::optional<envs::ValueArray>> ListedPolicy::Act() {
  while (at_ < text_.size()) {
    const std::size_t end = std::min(text_.find('\n', at_), text_.size());
    std::string_view line = std::string_view(text_).substr(at_, end - at_);
    at_ = end + 1;
    ++line_;
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) continue;
    line = line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
    Result<envs::ValueArray> action = ActionOf(spec_, line);
    if (!action.ok()) return Placed(action.status());
    return std::optional(std::move(*action));
  }
  return std::optional<envs::ValueArray>();
}

Result<envs::ValueArray> ActionOf(const envs::EnvSpec& spec, std::string_view line) {
  for (std::size_t i = 0; i < spec.actions.size(); ++i) {
    if (spec.actions[i] == line) return envs::ParseAction(spec.action, std::to_string(i));
  }
  return envs::ParseAction(spec.action, line);
}

Status WriteEnvGif(envs::Env& env, std::uint64_t seed, Policy& policy, const EnvGifOptions& options,
                   std::ostream& out) {
  const bool bounded = policy.ends() || options.steps.has_value();
  const std::uint64_t episodes_max = options.episodes.value_or(bounded ? UINT64_MAX : 1);
  const std::uint64_t steps_max =
      options.steps.value_or(policy.ends() ? UINT64_MAX : kStepsOtherwise * episodes_max);
  Recording recording(env, options);
  MUSTER_RETURN_IF_ERROR(recording.Reset(seed));
  bool ended = false;
  while (recording.steps() < steps_max && recording.ended() < episodes_max) {
    MUSTER_ASSIGN_OR_RETURN(const std::optional<envs::ValueArray> action, policy.Act());
    if (!action.has_value()) break;
    if (ended) MUSTER_RETURN_IF_ERROR(recording.Reset(std::nullopt));
    Result<bool> step = recording.Step(*action);
    if (!step.ok()) return policy.Placed(step.status());
    ended = *step;
  }
  return recording.Write(options.path, out);
}

}  // namespace muster::tools
