#include "envs/plugin/crash_report.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace muster::envs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kActionWords = 8, kNameWords = 6;
constexpr auto kRelaxed = std::memory_order_relaxed;

// Bytes that another thread may read meanwhile.
template <std::size_t kCount>
using Words = std::array<std::atomic<std::uint64_t>, kCount>;

// As many of the bytes as fit.
template <std::size_t kCount>
void Store(const void* from, std::size_t size, Words<kCount>& to) {
  size = std::min(size, kCount * sizeof(std::uint64_t));
  for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, static_cast<const char*>(from) + at, std::min(sizeof word, size - at));
    to[at / sizeof word].store(word, kRelaxed);
  }
}
template <std::size_t kCount>
std::array<std::uint64_t, kCount> Read(const Words<kCount>& from) {
  std::array<std::uint64_t, kCount> words{};
  for (std::size_t i = 0; i < kCount; ++i) words[i] = from[i].load(kRelaxed);
  return words;
}

// One a thread that is in a plug-in. `number` is odd while a call runs and even otherwise, so that
// a reader on another thread can tell whether what it read belonged together.
struct Slot {
  std::atomic<std::uint64_t> number = 0;
  std::atomic<bool> taken = false;  // By a living thread.
  std::atomic<std::int64_t> began_ns = 0;
  Words<kNameWords> name{};  // A copy: the environment may be gone when somebody reads it.
  std::atomic<const char*> what = "";
  std::atomic<std::uint64_t> step = 0;
  std::atomic<DType> dtype = DType::kFloat32;
  std::atomic<std::size_t> elements = 0;
  Words<kActionWords> action{};  // As many bytes as fit.
};

constexpr std::size_t kSlots = 256;
std::array<Slot, kSlots> slots;  // NOLINT: a signal handler has nowhere else to look.

// Where a thread's handlers run when its own stack is what overflowed. A thread that has such a
// stack already (a sanitizer's) keeps it.
class HandlerStack {
 public:
  HandlerStack() {
    stack_t there = {};
    if (::sigaltstack(nullptr, &there) != 0 || (there.ss_flags & SS_DISABLE) == 0) return;
    bytes_.resize(kBytes);
    stack_t own = {};
    own.ss_sp = bytes_.data();
    own.ss_size = bytes_.size();
    ::sigaltstack(&own, nullptr);
  }
  ~HandlerStack() {
    if (bytes_.empty()) return;
    stack_t none = {};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
  }
  HandlerStack(const HandlerStack&) = delete;
  HandlerStack& operator=(const HandlerStack&) = delete;

 private:
  static constexpr std::size_t kBytes = 64 << 10;
  std::vector<std::byte> bytes_;
};

// Gives the slot back with its thread. More threads than slots share the last one.
struct Owned {
  std::size_t slot = kSlots - 1;
  HandlerStack stack;
  Owned() {
    for (std::size_t i = 0; i < kSlots; ++i) {
      if (!slots[i].taken.exchange(true)) {
        slot = i;
        return;
      }
    }
  }
  ~Owned() { slots[slot].taken = false; }
};

std::size_t OwnSlot() {
  thread_local const Owned owned;
  return owned.slot;
}
thread_local std::size_t current = kSlots;  // The slot of the running call.

// Without allocation, for signal handlers. The characters used.
std::size_t Describe(const Slot& slot, char* text, std::size_t size) {
  std::size_t used = 0;
  const auto add = [&](const char* format, auto... values) {
    const int wanted = std::snprintf(text + used, size - used, format, values...);
    used = std::min(size - 1, used + static_cast<std::size_t>(std::max(wanted, 0)));
  };
  const std::size_t elements = slot.elements.load(kRelaxed);
  const auto name = Read(slot.name);
  add("environment %.*s is in %s", static_cast<int>(sizeof name),
      reinterpret_cast<const char*>(name.data()), slot.what.load(kRelaxed));
  if (elements == 0) return used;
  const auto words = Read(slot.action);
  alignas(8) std::array<std::byte, sizeof words> bytes{};
  std::memcpy(bytes.data(), words.data(), sizeof words);
  const DType dtype = slot.dtype.load(kRelaxed);
  const ConstValues action(dtype, bytes.data(), std::min(elements, sizeof bytes / BytesOf(dtype)));
  add(" %llu, action [", static_cast<unsigned long long>(slot.step.load(kRelaxed)));
  for (std::size_t i = 0; i < action.size; ++i) add(i == 0 ? "%g" : ", %g", action[i]);
  add("%s", action.size < elements ? ", ...]" : "]");
  return used;
}

std::atomic<bool> crashed{false};

// Writes what the calling thread is in, and what became of it.
void Tell(const char* end, int number) {
  std::array<char, 576> text{};
  std::size_t used = Describe(slots[current], text.data(), 512);
  used +=
      static_cast<std::size_t>(std::snprintf(text.data() + used, text.size() - used, end, number));
  const auto written = ::write(STDERR_FILENO, text.data(), used);
  static_cast<void>(written);
}

void OnCrash(int signal) {
  // Of threads that crash together the first speaks; the others end with the process.
  static thread_local bool speaks = false;
  while (!speaks && crashed.exchange(true)) ::pause();
  if (!speaks && current < kSlots) {
    speaks = true;
    Tell(" and has crashed (signal %d)\n", signal);
  }
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

// What calls exit() in there must not look like an end that was meant.
void OnExit() {
  if (current == kSlots) return;
  Tell(" and has called exit(); the process ends with code %d\n", EXIT_FAILURE);
  ::_exit(EXIT_FAILURE);
}

std::int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
      .count();
}

}  // namespace

PluginCall::PluginCall(const std::string& name, const char* what, std::uint64_t step,
                       ConstValues action)
    : slot_(OwnSlot()) {
  Slot& slot = slots[slot_];
  Store(name.data(), name.size() + 1, slot.name);  // With its 0, where that fits.
  slot.what.store(what, kRelaxed);
  slot.step.store(step, kRelaxed);
  slot.dtype.store(action.dtype, kRelaxed);
  slot.elements.store(action.size, kRelaxed);
  Store(action.data, action.bytes(), slot.action);
  slot.began_ns.store(NowNs(), kRelaxed);
  slot.number.fetch_add(1, std::memory_order_release);
  current = slot_;
}

PluginCall::~PluginCall() {
  current = kSlots;
  slots[slot_].number.fetch_add(1, std::memory_order_release);
}

std::string CurrentPluginCall() {
  if (current >= kSlots) return "";
  std::array<char, 512> text{};
  return {text.data(), Describe(slots[current], text.data(), text.size())};
}

void ReportPluginCrashes() {
  struct sigaction action = {};
  action.sa_handler = OnCrash;
  action.sa_flags = SA_NODEFER | SA_ONSTACK;
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
    ::sigaction(signal, &action, nullptr);
  }
  static const int registered = std::atexit(OnExit);
  static_cast<void>(registered);
}

PluginWatchdog::PluginWatchdog(std::chrono::milliseconds limit,
                               std::function<void(const std::string&)> on_hang)
    : limit_(limit), on_hang_(std::move(on_hang)), thread_([this] { Watch(); }) {}

PluginWatchdog::~PluginWatchdog() {
  stop_ = true;
  thread_.join();
}

void PluginWatchdog::Watch() {
  std::array<std::uint64_t, kSlots> told{};
  const auto pause = std::min(limit_ / 4, std::chrono::milliseconds(100));
  while (!stop_) {
    std::this_thread::sleep_for(std::max(pause, std::chrono::milliseconds(1)));
    for (std::size_t i = 0; i < kSlots; ++i) {
      const std::uint64_t number = slots[i].number.load(std::memory_order_acquire);
      const std::int64_t lasted_ns = NowNs() - slots[i].began_ns.load(kRelaxed);
      if (number % 2 == 0 || told[i] == number || lasted_ns < limit_.count() * 1'000'000) continue;
      std::array<char, 512> text{};
      Describe(slots[i], text.data(), text.size());
      if (slots[i].number.load(std::memory_order_acquire) != number) continue;  // It came back.
      told[i] = number;
      const std::string line = std::string(text.data()) + " and has not come back for " +
                               std::to_string(limit_.count()) + " ms";
      if (on_hang_) {
        on_hang_(line);
      } else {
        std::fprintf(stderr, "%s\n", line.c_str());
        std::abort();
      }
    }
  }
}

}  // namespace muster::envs
