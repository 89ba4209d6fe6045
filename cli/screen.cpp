#include "cli/screen.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "cli/terminal.h"

namespace muster::cli {
namespace {

// xterm's control sequences, which all terminals of today know: the alternate screen, the cursor
// and the wrapping of long lines.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
constexpr std::string_view kLeave = "\x1b[?7h\x1b[?25h\x1b[?1049l";

void Put(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(descriptor, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return;  // Nobody looks any more.
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

// The screen that is taken, which a signal must give back before the process stops; -1 = none.
std::atomic<int> taken_screen = -1;

void Install(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  ::sigaction(number, &action, nullptr);
}

// Only what is allowed in a signal handler.
void GiveBackAndStop(int number) {
  const int saved_errno = errno;
  if (const int descriptor = taken_screen.exchange(-1); descriptor >= 0) Put(descriptor, kLeave);
  Install(number, SIG_DFL);
  ::raise(number);
  // Goes on here after SIGCONT; whether in the foreground, the next Draw sees.
  Install(number, GiveBackAndStop);
  errno = saved_errno;
}

std::string_view Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

}  // namespace

ScreenSize ScreenSizeOf(int descriptor) {
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    return {};
  }
  return {size.ws_col, size.ws_row};
}

bool CanDrawOn(int descriptor) {
  const std::string_view terminal = Variable("TERM");
  return ::isatty(descriptor) != 0 && !terminal.empty() && terminal != "dumb";
}

bool ShowsUnicode() {
  if (Variable("TERM") == "linux") return false;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    std::string value(Variable(name));
    if (value.empty()) continue;
    for (char& c : value) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return value.find("utf-8") != std::string::npos || value.find("utf8") != std::string::npos;
  }
  return false;
}

Screen::Screen(int descriptor) : descriptor_(descriptor) {}

Screen::~Screen() { Leave(); }

void Screen::Draw(const std::vector<std::string>& lines) {
  // Somebody else has the terminal: it was stopped and goes on behind the shell.
  if (::tcgetpgrp(descriptor_) != ::getpgrp()) return;
  if (!handling_) {
    handling_ = true;
    for (const int number : {SIGTSTP, SIGQUIT}) Install(number, GiveBackAndStop);
  }
  if (taken_screen.exchange(descriptor_) < 0) Put(descriptor_, kEnter);
  const std::size_t columns = ScreenSizeOf(descriptor_).columns;
  std::string text = "\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    text += (i == 0 ? "" : "\r\n") + lines[i];
    // A full line leaves the cursor on its last character.
    if (TextColumns(lines[i]) < columns) text += "\x1b[K";
  }
  Put(descriptor_, text + "\x1b[J");
}

void Screen::Leave() {
  if (taken_screen.exchange(-1) >= 0) Put(descriptor_, kLeave);
  if (!handling_) return;
  handling_ = false;
  for (const int number : {SIGTSTP, SIGQUIT}) Install(number, SIG_DFL);
}

}  // namespace muster::cli
