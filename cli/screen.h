// A terminal's whole screen, borrowed and given back as it was.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace muster::cli {

struct ScreenSize {
  std::size_t columns = 80, rows = 24;
  bool operator==(const ScreenSize&) const = default;
};

// Of the terminal behind `descriptor`; 80 x 24 where it does not say.
ScreenSize ScreenSizeOf(int descriptor);

// Whether `descriptor` is a terminal on which one can draw: not one that TERM calls dumb.
bool CanDrawOn(int descriptor);

// Whether what reads our text shows more than ASCII, as LC_ALL, LC_CTYPE and LANG say; the kernel's
// own console, which has no braille, does not.
bool ShowsUnicode();

// Takes the screen at the first Draw and gives it back, with what it had shown, at Leave or at the
// end; and while the process is stopped by Ctrl-Z. (A process that is killed cannot.) Draws nothing
// in the background. At most one at a time; one thread.
class Screen {
 public:
  explicit Screen(int descriptor);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Lines from the top, which must fit; what they leave free is empty.
  void Draw(const std::vector<std::string>& lines);
  void Leave();

 private:
  int descriptor_;
  bool handling_ = false;  // SIGTSTP and SIGQUIT.
};

}  // namespace muster::cli
