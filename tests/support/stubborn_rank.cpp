// A rank that does all it can to outlive its end: it ignores SIGTERM, forks, forks twice, leaves
// its session, clears its environment, listens on a port and holds shared memory. Prints "ready"
// when all of that is in place. Needs no libraries.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

[[noreturn]] void Linger(int ready) {
  [[maybe_unused]] const ssize_t wrote = ::write(ready, "x", 1);
  ::close(ready);
  while (true) ::pause();
}

int Listen() {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  ::listen(listener, 1);
  socklen_t size = sizeof(address);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

void HoldSharedMemory(const char* suffix) {
  const char* prefix = std::getenv("MUSTER_SHM_PREFIX");
  std::string name = "/";
  name.append(prefix == nullptr ? "muster-none-" : prefix).append(suffix);
  const int segment = ::shm_open(name.c_str(), O_RDWR | O_CREAT, 0600);
  if (segment < 0 || ::ftruncate(segment, 4096) != 0) ::_exit(3);
}

// Runs again from the start of main, with nothing in its environment that tells whose it is.
void BecomeNameless(int ready) {
  const std::string descriptor = std::to_string(ready);
  const char* arguments[] = {"nameless", "--linger", descriptor.c_str(), nullptr};
  char* const nothing[] = {nullptr};
  ::execve("/proc/self/exe", const_cast<char* const*>(arguments), nothing);
  ::_exit(4);
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGTERM, SIG_IGN);
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  if (argc == 3 && std::strcmp(argv[1], "--linger") == 0) Linger(std::atoi(argv[2]));
  int ready[2];
  if (::pipe(ready) != 0) return 2;
  std::printf("port %d\n", Listen());
  HoldSharedMemory("stubborn");
  if (::fork() == 0) Linger(ready[1]);  // A child.
  if (::fork() == 0) {                  // A grandchild in a session of its own.
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    Linger(ready[1]);
  }
  if (::fork() == 0) {  // The same, and nameless.
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    ::setsid();
    BecomeNameless(ready[1]);
  }
  char byte = 0;
  for (int i = 0; i < 3; ++i) {
    if (::read(ready[0], &byte, 1) != 1) return 2;
  }
  std::printf("ready\n");
  std::fflush(stdout);
  while (true) ::pause();
}
