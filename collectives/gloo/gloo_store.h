// Gloo's Store on top of a Rendezvous.
#pragma once

#include <gloo/rendezvous/store.h>

#include <chrono>
#include <string>
#include <vector>

#include "collectives/rendezvous.h"

namespace muster {

// Throws gloo::IoException, as Gloo expects; the reason is kept in failure().
class GlooStore : public gloo::rendezvous::Store {
 public:
  GlooStore(Rendezvous& rendezvous, std::string prefix, std::chrono::milliseconds timeout)
      : rendezvous_(rendezvous), prefix_(std::move(prefix)), timeout_(timeout) {}

  void set(const std::string& key, const std::vector<char>& data) override;
  std::vector<char> get(const std::string& key) override;
  void wait(const std::vector<std::string>& keys) override;
  void wait(const std::vector<std::string>& keys,
            const std::chrono::milliseconds& timeout) override;

  const Status& failure() const { return failure_; }

 private:
  Rendezvous& rendezvous_;
  const std::string prefix_;
  const std::chrono::milliseconds timeout_;
  Status failure_;
};

}  // namespace muster
