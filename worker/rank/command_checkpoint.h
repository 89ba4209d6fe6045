// MUSTER_CHECKPOINT_DIR: how a program of any kind has its files kept and gets them back.
//
// The program writes plain files into the folder and, when they belong together, one named COMPLETE
// last. They are copied and uploaded; once they are accepted, COMPLETE becomes ACCEPTED and the
// program may write the next ones. What cannot be taken makes it REFUSED, and the log says why.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <string>

#include "base/status.h"
#include "muster/v1/agent.pb.h"

namespace muster::rank {

inline constexpr std::uint64_t kCheckpointBytesMax = std::uint64_t{64} << 30U;
inline constexpr std::size_t kCheckpointFilesMax = 4096;

// Copies the files of `directory` into `staging`, which is made anew, with a manifest for `step`.
// Returns the checkpoint's digest. kInvalidArgument: a folder, a link or another thing that is no
// plain file, a name that is not plain (wire::IsPlainFileName), too many, too large, or none.
Result<std::string> SnapshotCheckpoint(const std::string& directory, const std::string& staging,
                                       std::uint64_t step);

class CommandCheckpoint {
 public:
  // Returns once the coordinator has accepted or refused it, and removes its directory.
  using Publish = std::function<Status(const v1::PublishRequest&)>;

  // Makes `directory` and fills it from `resume_directory` (empty = nothing to resume), whose step
  // is `resume_step`. `staging` is a folder beside it for copies.
  static Result<CommandCheckpoint> Open(std::string directory, std::string staging,
                                        const std::string& resume_directory,
                                        std::uint64_t resume_step, Publish publish);

  // Begins to publish when COMPLETE is there and nothing is on its way; takes up the result of what
  // was. Does not block. An error (the attempt was replaced, say) ends the rank.
  Status Poll();
  // The program has ended. Publishes what is COMPLETE and, if it has succeeded, whatever has
  // changed since; waits for that. A refusal after success is an error.
  Status Finish(bool succeeded);

  // Of the newest accepted one, or that was resumed from.
  std::uint64_t step() const { return step_; }

 private:
  struct Published {
    Status refused;  // Of its content.
    Status status;
    std::string content;
  };
  CommandCheckpoint(std::string directory, std::string staging, Publish publish)
      : directory_(std::move(directory)),
        staging_(std::move(staging)),
        publish_(std::move(publish)) {}

  bool IsComplete() const;
  Published PublishNow(bool final) const;
  // What has been published: its refusal is told, another error returned.
  Status Take(const Published& published);

  std::string directory_;
  std::string staging_;
  Publish publish_;
  std::uint64_t step_ = 0;
  std::string content_;  // Names and hashes of what was accepted last.
  std::future<Published> running_;
};

}  // namespace muster::rank
