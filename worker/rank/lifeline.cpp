#include "worker/rank/lifeline.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

namespace muster::rank {

void WatchLifeline(int lifeline) {
  struct stat info {};
  if (::fstat(lifeline, &info) != 0 || !S_ISFIFO(info.st_mode)) return;
  std::thread([lifeline] {
    char byte = 0;
    while (true) {
      const ssize_t got = ::read(lifeline, &byte, 1);
      if (got == 0 || (got < 0 && errno != EINTR)) ::_exit(1);
    }
  }).detach();
}

}  // namespace muster::rank
