#include "worker/rank/lifeline.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <utility>

namespace muster::rank {

void WatchLifeline(int lifeline, std::function<void()> before_end) {
  struct stat info {};
  if (::fstat(lifeline, &info) != 0 || !S_ISFIFO(info.st_mode)) return;
  std::thread([lifeline, before_end = std::move(before_end)] {
    char byte = 0;
    while (true) {
      const ssize_t got = ::read(lifeline, &byte, 1);
      if (got > 0 || (got < 0 && errno == EINTR)) continue;
      before_end();
      ::_exit(1);
    }
  }).detach();
}

}  // namespace muster::rank
