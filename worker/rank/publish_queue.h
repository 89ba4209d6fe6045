// Publishes checkpoints in the background, in order, while training goes on.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "base/status.h"
#include "muster/v1/agent.pb.h"

namespace muster::rank {

class PublishQueue {
 public:
  // Returns once the checkpoint is accepted or refused, and removes its directory.
  using Publish = std::function<Status(const v1::PublishRequest&)>;

  explicit PublishQueue(Publish publish);
  // Waits for the call that is running; what still waits is not published.
  ~PublishQueue();

  // At most two wait beside the last one of the job: with a coordinator that is away or slow the
  // oldest is dropped, with its directory. An error of an earlier publication is returned here.
  Status Add(const v1::PublishRequest& checkpoint);

  // Waits until everything added is accepted; the first error otherwise.
  Status WaitForAll();

 private:
  void Loop();

  const Publish publish_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::PublishRequest> waiting_;
  bool running_ = false;  // A publication.
  bool stop_ = false;
  Status failed_;
  std::thread thread_;
};

}  // namespace muster::rank
