/* muster_env.h: write an environment of your own for Muster, in a shared library.
 *
 * This one file is all that is needed. In C++17 (or later):
 *
 *   #include "muster_env.h"
 *
 *   class Walk {                                         // A random walk to either end.
 *    public:
 *     explicit Walk(muster_env::Options& options)
 *         : length_(options.Integer("length", 10, "squares of the line")) {}
 *     muster_env::Spec Describe() const {
 *       muster_env::Spec spec;
 *       spec.observation = muster_env::Space::Box({1}, 0, 1);
 *       spec.action = muster_env::Space::Discrete(2);
 *       spec.steps_max = 100;
 *       return spec;
 *     }
 *     void Reset(muster_env::Random& random) { at_ = random.Below(length_); }
 *     muster_env::Step Act(muster_env::Action action, muster_env::Random&) {
 *       at_ += action.Choice() == 1 ? 1 : -1;
 *       const bool end = at_ < 0 || at_ >= length_;
 *       return {at_ >= length_ ? 1.0 : 0.0, end, false};
 *     }
 *     void Observe(float* observation) const { observation[0] = float(at_) / length_; }
 *     template <class Archive> void State(Archive& archive) { archive(at_); }  // Optional.
 *
 *    private:
 *     long length_, at_ = 0;
 *   };
 *   MUSTER_ENV(Walk)
 *
 *   muster env build walk.cpp            makes walk.so
 *   muster env check ./walk.so           says whether it does what Muster relies on
 *   muster env show ./walk.so            its spaces and options
 *   environment = "./walk.so"            in a job file: it is sent along
 *
 * All chance must come from the Random that is handed in, or from the seed: the same seed and
 * actions must give the same episode, or jobs cannot be repeated. Exceptions end the job with their
 * text. `State` names every member that changes in an episode; without it Muster restores an
 * episode by playing it again.
 *
 * Below is the C interface, for other languages; then the C++ layer over it.
 */
#ifndef MUSTER_ENV_H_
#define MUSTER_ENV_H_

#include <stddef.h>
#include <stdint.h>

#define MUSTER_ENV_ABI 1 /* Changes whenever something below changes its meaning or place. */
#define MUSTER_ENV_RANK_MAX 8

#ifdef __cplusplus
extern "C" {
#endif

enum muster_space_kind {
  MUSTER_BOX_FLOAT32 = 0,   /* float elements */
  MUSTER_BOX_UINT8 = 1,     /* uint8_t elements: pictures */
  MUSTER_DISCRETE = 2,      /* one int32_t, 0..choices[0]-1 */
  MUSTER_MULTI_DISCRETE = 3 /* shape[0] int32_t, each below its choices[] */
};

/* Pointers belong to the plug-in and stay valid as long as the environment. */
typedef struct muster_space {
  int32_t kind;
  int32_t rank; /* 0..8; 0 for discrete, 1 for multi-discrete. */
  int64_t shape[MUSTER_ENV_RANK_MAX];
  int64_t bounds; /* Boxes: how many numbers `low` and `high` have: 1 for all elements, or each. */
  const double* low;
  const double* high;
  const int32_t* choices;
} muster_space;

typedef struct muster_env_spec {
  const char* name;
  muster_space observation;
  muster_space action;
  double reward_low, reward_high; /* May be infinite. */
  int64_t steps_max;              /* An episode is truncated after so many steps; 0 = never. */
} muster_env_spec;

typedef struct muster_env_result {
  double reward;
  int32_t terminated; /* The state is terminal. */
  int32_t truncated;  /* The episode is cut short by the environment itself. */
} muster_env_result;

/* `size` says which of the last ones there are: this Muster runs plug-ins of headers that had
 * fewer. Functions that return int: 0 is success; otherwise last_error() has one sentence. Elements
 * lie one after the other, in row-major order. An environment is used by one thread at a time;
 * there may be thousands of them. The optional ones may be NULL. */
typedef struct muster_env_api {
  uint32_t abi;  /* MUSTER_ENV_ABI */
  uint32_t size; /* sizeof(muster_env_api) */
  /* NULL on failure, with a sentence in `error`, of at most `error_size` bytes with its 0. */
  void* (*create)(const char* const* keys, const char* const* values, int32_t options, char* error,
                  size_t error_size);
  void (*destroy)(void* env);
  const muster_env_spec* (*spec)(void* env);
  /* Begins the episode that this seed stands for. */
  int (*reset)(void* env, uint64_t seed, void* observation);
  int (*step)(void* env, const void* action, void* observation, muster_env_result* result);
  const char* (*last_error)(void* env);
  /* Optional: the exact state. Returns its size; writes it where `capacity` is enough. -1 = error.
   */
  int64_t (*save)(void* env, void* bytes, int64_t capacity);
  int (*load)(void* env, const void* bytes, int64_t size); /* With save, or neither. */
  /* Optional: as lines of text. Returns the length, writes it where `capacity` is enough. */
  int64_t (*text)(void* env, char* text, int64_t capacity);
  /* Optional: as a picture of width * height * 3 bytes. Sets the size; writes where rgb is not
   * NULL. */
  int (*image)(void* env, int32_t* width, int32_t* height, uint8_t* rgb);
  /* Optional: what `create` takes, one option a line: its key, default and help with tabs between.
   * Returns the length, writes it where `capacity` is enough. */
  int64_t (*options)(void* env, char* text, int64_t capacity);
} muster_env_api;

#if defined(_WIN32)
#define MUSTER_ENV_EXPORT __declspec(dllexport)
#else
#define MUSTER_ENV_EXPORT __attribute__((visibility("default")))
#endif

/* The one symbol that a plug-in exports. */
MUSTER_ENV_EXPORT const muster_env_api* muster_env_plugin(void);

#ifdef __cplusplus
} /* extern "C" */

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace muster_env {

// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): eight bytes of state, part of what is saved.
class Random {
 public:
  explicit Random(std::uint64_t seed = 0) : state_(seed) {}
  std::uint64_t Next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }
  double Uniform() { return static_cast<double>(Next() >> 11) * (1.0 / 9007199254740992.0); }
  double Uniform(double low, double high) { return low + (high - low) * Uniform(); }
  // 0..n-1; n must be in 1..2^32.
  long Below(long n) {
    return static_cast<long>(((Next() >> 32) * static_cast<std::uint64_t>(n)) >> 32);
  }

 private:
  std::uint64_t state_;
};

// Options that the user gave: --set key=value. Asking for one, with its default and maybe a line of
// help, declares it: `muster env show` lists them.
class Options {
 public:
  void Give(std::string key, std::string value) {
    given_.push_back({std::move(key), std::move(value), false});
  }
  std::string Text(const std::string& key, const std::string& fallback, const char* help = "") {
    const std::string* const text = Ask(key, fallback, help);
    return text == nullptr ? fallback : *text;
  }
  double Number(const std::string& key, double fallback, const char* help = "") {
    char shown[32];
    std::snprintf(shown, sizeof shown, "%g", fallback);
    const std::string* const text = Ask(key, shown, help);
    return text == nullptr ? fallback : NumberOf(key, *text);
  }
  long Integer(const std::string& key, long fallback, const char* help = "") {
    const std::string* const text = Ask(key, std::to_string(fallback), help);
    if (text == nullptr) return fallback;
    const double value = NumberOf(key, *text);
    if (value != static_cast<double>(static_cast<long>(value))) {
      throw std::invalid_argument("option " + key + " is not a whole number");
    }
    return static_cast<long>(value);
  }
  bool Flag(const std::string& key, bool fallback, const char* help = "") {
    const std::string* const text = Ask(key, fallback ? "true" : "false", help);
    if (text == nullptr) return fallback;
    if (*text == "true" || *text == "1") return true;
    if (*text == "false" || *text == "0") return false;
    throw std::invalid_argument("option " + key + ": '" + *text + "' is not true or false");
  }
  void Finish() const {
    for (const Given& given : given_) {
      if (given.asked) continue;
      throw std::invalid_argument("unknown option " + given.key +
                                  "; there are: " + (known_.empty() ? "none" : known_));
    }
  }
  // Those that have been asked for, as muster_env_api.options tells them.
  const std::string& Declared() const { return declared_; }

 private:
  struct Given {
    std::string key, value;
    bool asked;
  };
  // What was given; nullptr where the default holds.
  const std::string* Ask(const std::string& key, const std::string& fallback, const char* help) {
    known_ += (known_.empty() ? "" : ", ") + key;
    declared_ += Line(key) + "\t" + Line(fallback) + "\t" + Line(help) + "\n";
    for (Given& given : given_) {
      if (given.key != key) continue;
      given.asked = true;
      return &given.value;
    }
    return nullptr;
  }
  static double NumberOf(const std::string& key, const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != 0) {
      throw std::invalid_argument("option " + key + ": '" + text + "' is no number");
    }
    return value;
  }
  static std::string Line(std::string text) {
    for (char& c : text) {
      if (c == '\t' || c == '\n') c = ' ';
    }
    return text;
  }
  std::vector<Given> given_;
  std::string known_, declared_;
};

struct Space {
  std::int32_t kind = MUSTER_BOX_FLOAT32;
  std::vector<std::int64_t> shape;
  std::vector<double> low, high;
  std::vector<std::int32_t> choices;

  static Space Box(std::vector<std::int64_t> shape, double low, double high) {
    return {MUSTER_BOX_FLOAT32, std::move(shape), {low}, {high}, {}};
  }
  static Space Box(std::vector<double> low, std::vector<double> high) {
    const auto elements = static_cast<std::int64_t>(low.size());
    return {MUSTER_BOX_FLOAT32, {elements}, std::move(low), std::move(high), {}};
  }
  static Space Pixels(std::int64_t height, std::int64_t width, std::int64_t channels) {
    return {MUSTER_BOX_UINT8, {height, width, channels}, {0}, {255}, {}};
  }
  static Space Discrete(std::int32_t n) { return {MUSTER_DISCRETE, {}, {}, {}, {n}}; }
  static Space MultiDiscrete(std::vector<std::int32_t> choices) {
    const auto count = static_cast<std::int64_t>(choices.size());
    return {MUSTER_MULTI_DISCRETE, {count}, {}, {}, std::move(choices)};
  }
};

struct Spec {
  std::string name;  // That of the class where empty.
  Space observation, action;
  double reward_low = -std::numeric_limits<double>::infinity();
  double reward_high = std::numeric_limits<double>::infinity();
  long steps_max = 0;
};

struct Step {
  double reward = 0;
  bool terminated = false, truncated = false;
};

// What the policy wants: choices of discrete spaces, numbers of boxes.
struct Action {
  const void* data;
  std::int32_t Choice(std::size_t i = 0) const { return static_cast<const std::int32_t*>(data)[i]; }
  float Number(std::size_t i = 0) const { return static_cast<const float*>(data)[i]; }
};

namespace internal {

class Writer {
 public:
  template <class... Fields>
  void operator()(const Fields&... fields) {
    (Put(fields), ...);
  }
  const std::vector<char>& bytes() const { return bytes_; }

 private:
  template <class T>
  void Put(const T& value) {
    static_assert(std::is_trivially_copyable<T>::value, "State() takes plain values and vectors");
    const char* const at = reinterpret_cast<const char*>(&value);
    bytes_.insert(bytes_.end(), at, at + sizeof(T));
  }
  template <class T>
  void Put(const std::vector<T>& values) {
    Put(static_cast<std::uint64_t>(values.size()));
    for (const T& value : values) Put(value);
  }
  std::vector<char> bytes_;
};

class Reader {
 public:
  Reader(const void* bytes, std::size_t size) : at_(static_cast<const char*>(bytes)), left_(size) {}
  template <class... Fields>
  void operator()(Fields&... fields) {
    (Get(fields), ...);
  }
  std::size_t left() const { return left_; }

 private:
  template <class T>
  void Get(T& value) {
    if (left_ < sizeof(T)) throw std::runtime_error("the saved state is cut short");
    std::memcpy(&value, at_, sizeof(T));
    at_ += sizeof(T);
    left_ -= sizeof(T);
  }
  template <class T>
  void Get(std::vector<T>& values) {
    std::uint64_t size = 0;
    Get(size);
    if (size > left_ / sizeof(T)) throw std::runtime_error("the saved state is cut short");
    values.resize(size);
    for (T& value : values) Get(value);
  }
  const char* at_;
  std::size_t left_;
};

template <class T, class = void>
struct HasState : std::false_type {};
template <class T>
struct HasState<T, std::void_t<decltype(std::declval<T&>().State(std::declval<Writer&>()))>>
    : std::true_type {};
template <class T, class = void>
struct HasText : std::false_type {};
template <class T>
struct HasText<T, std::void_t<decltype(std::string(std::declval<const T&>().Text()))>>
    : std::true_type {};

template <class T>
struct Holder {
  Options options;
  T env;
  Spec spec;
  muster_env_spec c_spec{};
  Random random;
  std::string error;

  explicit Holder(Options given) : options(std::move(given)), env(options), spec(env.Describe()) {
    options.Finish();
  }
};

inline muster_space Describe(const Space& space) {
  muster_space c{};
  if (space.shape.size() > MUSTER_ENV_RANK_MAX) throw std::invalid_argument("too many dimensions");
  c.kind = space.kind;
  c.rank = static_cast<std::int32_t>(space.shape.size());
  for (std::size_t i = 0; i < space.shape.size(); ++i) c.shape[i] = space.shape[i];
  c.bounds = static_cast<std::int64_t>(space.low.size());
  c.low = space.low.data();
  c.high = space.high.data();
  c.choices = space.choices.data();
  return c;
}

// Runs `body` on the environment behind the pointer; its exceptions become last_error().
template <class T, class Body>
int Guarded(void* env, Body body) {
  Holder<T>& holder = *static_cast<Holder<T>*>(env);
  try {
    body(holder);
    return 0;
  } catch (const std::exception& error) {
    holder.error = error.what();
  } catch (...) {
    holder.error = "an exception of an unknown kind";
  }
  return 1;
}

inline std::int64_t Copy(const std::string& from, char* to, std::int64_t capacity) {
  const auto size = static_cast<std::int64_t>(from.size());
  if (size <= capacity) std::memcpy(to, from.data(), from.size());
  return size;
}

template <class T>
void Observe(Holder<T>& holder, void* observation) {
  if constexpr (std::is_invocable_v<decltype(&T::Observe), T&, float*>) {
    holder.env.Observe(static_cast<float*>(observation));
  } else if constexpr (std::is_invocable_v<decltype(&T::Observe), T&, std::int32_t*>) {
    holder.env.Observe(static_cast<std::int32_t*>(observation));
  } else {
    holder.env.Observe(static_cast<std::uint8_t*>(observation));
  }
}

template <class T>
muster_env_api Api(const char* class_name) {
  static const char* const name = class_name;
  muster_env_api api{};
  api.abi = MUSTER_ENV_ABI;
  api.size = sizeof(muster_env_api);
  api.create = [](const char* const* keys, const char* const* values, std::int32_t count,
                  char* error, std::size_t error_size) -> void* {
    std::string what = "an exception of an unknown kind";
    try {
      Options options;
      for (std::int32_t i = 0; i < count; ++i) options.Give(keys[i], values[i]);
      auto* const holder = new Holder<T>(std::move(options));
      if (holder->spec.name.empty()) holder->spec.name = name;
      const Spec& spec = holder->spec;
      holder->c_spec = {spec.name.c_str(), Describe(spec.observation), Describe(spec.action),
                        spec.reward_low,   spec.reward_high,           spec.steps_max};
      return holder;
    } catch (const std::exception& exception) {
      what = exception.what();
    } catch (...) {
    }
    if (error_size > 0) {
      what.resize(what.size() < error_size ? what.size() : error_size - 1);
      std::memcpy(error, what.c_str(), what.size() + 1);
    }
    return nullptr;
  };
  api.destroy = [](void* env) { delete static_cast<Holder<T>*>(env); };
  api.spec = [](void* env) -> const muster_env_spec* {
    return &static_cast<Holder<T>*>(env)->c_spec;
  };
  api.reset = [](void* env, std::uint64_t seed, void* observation) {
    return Guarded<T>(env, [&](Holder<T>& holder) {
      holder.random = Random(seed);
      holder.env.Reset(holder.random);
      Observe(holder, observation);
    });
  };
  api.step = [](void* env, const void* action, void* observation, muster_env_result* result) {
    return Guarded<T>(env, [&](Holder<T>& holder) {
      const Step step = holder.env.Act(Action{action}, holder.random);
      *result = {step.reward, step.terminated ? 1 : 0, step.truncated ? 1 : 0};
      Observe(holder, observation);
    });
  };
  api.last_error = [](void* env) { return static_cast<Holder<T>*>(env)->error.c_str(); };
  if constexpr (HasState<T>::value) {
    api.save = [](void* env, void* bytes, std::int64_t capacity) -> std::int64_t {
      std::int64_t size = -1;
      Guarded<T>(env, [&](Holder<T>& holder) {
        Writer writer;
        writer(holder.random);
        holder.env.State(writer);
        size = static_cast<std::int64_t>(writer.bytes().size());
        if (size <= capacity) std::memcpy(bytes, writer.bytes().data(), writer.bytes().size());
      });
      return size;
    };
    api.load = [](void* env, const void* bytes, std::int64_t size) {
      return Guarded<T>(env, [&](Holder<T>& holder) {
        Reader reader(bytes, static_cast<std::size_t>(size));
        reader(holder.random);
        holder.env.State(reader);
        if (reader.left() != 0) throw std::runtime_error("the saved state is too long");
      });
    };
  }
  api.options = [](void* env, char* text, std::int64_t capacity) -> std::int64_t {
    return Copy(static_cast<Holder<T>*>(env)->options.Declared(), text, capacity);
  };
  if constexpr (HasText<T>::value) {
    api.text = [](void* env, char* text, std::int64_t capacity) -> std::int64_t {
      std::int64_t size = -1;
      Guarded<T>(env, [&](Holder<T>& holder) {
        size = Copy(static_cast<const T&>(holder.env).Text(), text, capacity);
      });
      return size;
    };
  }
  return api;
}

}  // namespace internal
}  // namespace muster_env

// Makes this class the environment of the shared library.
#define MUSTER_ENV(Class)                                                       \
  extern "C" MUSTER_ENV_EXPORT const muster_env_api* muster_env_plugin(void) {  \
    static const muster_env_api api = muster_env::internal::Api<Class>(#Class); \
    return &api;                                                                \
  }

#endif /* __cplusplus */
#endif /* MUSTER_ENV_H_ */
