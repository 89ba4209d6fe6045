#include "envs/plugin/new_plugin.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"

namespace muster::envs {
namespace {

constexpr const char* kTemplate =
    R"(// CLASS: a walk on a line of `length` squares; the right end pays.
//
//   muster env build NAME.cpp
//   muster env check ./NAME.so
//   muster env show ./NAME.so
//   muster env play ./NAME.so --set length=20
#include "muster_env.h"

class CLASS {
 public:
  explicit CLASS(muster_env::Options& options)
      : length_(options.Integer("length", 10, "squares of the line")) {
    if (length_ < 2) throw std::invalid_argument("option length: a walk needs two squares");
  }

  muster_env::Spec Describe() const {
    muster_env::Spec spec;
    spec.observation = muster_env::Space::Box({1}, -1, 1);
    spec.action = muster_env::Space::Discrete(2);
    spec.reward_low = 0;
    spec.reward_high = 1;
    spec.steps_max = 10 * length_;
    return spec;
  }

  void Reset(muster_env::Random& random) { at_ = random.Below(length_); }

  muster_env::Step Act(muster_env::Action action, muster_env::Random& /*random*/) {
    at_ += action.Choice() == 1 ? 1 : -1;
    const bool left = at_ < 0, right = at_ >= length_;
    return {right ? 1.0 : 0.0, left || right, false};
  }

  void Observe(float* observation) const {
    observation[0] = 2.0f * static_cast<float>(at_ + 1) / static_cast<float>(length_ + 1) - 1.0f;
  }

  // Everything that changes in an episode, so that it can be saved and restored exactly.
  template <class Archive>
  void State(Archive& archive) {
    archive(at_);
  }

  std::string Text() const {
    std::string line(static_cast<std::size_t>(length_), '.');
    if (at_ >= 0 && at_ < length_) line[static_cast<std::size_t>(at_)] = '@';
    return line + "\n";
  }

 private:
  long length_;
  long at_ = 0;
};

MUSTER_ENV(CLASS)
)";

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// In single quotes for a shell.
std::string Quoted(const std::string& text) { return "'" + Replaced(text, "'", "'\\''") + "'"; }

}  // namespace

Result<std::string> PluginTemplate(const std::string& name) {
  std::string class_name;
  bool capital = true;
  for (const char c : name) {
    const auto letter = static_cast<unsigned char>(c);
    if (std::isalnum(letter) == 0 && c != '_') class_name.clear();
    if (std::isalnum(letter) == 0 && c != '_') break;
    if (c != '_') class_name += capital ? static_cast<char>(std::toupper(letter)) : c;
    capital = c == '_';
  }
  if (class_name.empty() || std::isdigit(static_cast<unsigned char>(class_name[0])) != 0) {
    return InvalidArgument("'" + name + "' is no name for an environment: letters, digits and _");
  }
  return Replaced(Replaced(kTemplate, "CLASS", class_name), "NAME", name);
}

Status NewPlugin(const std::string& name, const std::string& directory) {
  MUSTER_ASSIGN_OR_RETURN(const std::string source, PluginTemplate(name));
  MUSTER_RETURN_IF_ERROR(MakeDirectories(directory));
  const std::string path = directory + "/" + name + ".cpp";
  if (std::filesystem::exists(path)) {
    return {StatusCode::kAlreadyExists, path + " is there already; choose another name"};
  }
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(directory + "/muster_env.h", PluginHeader()));
  return WriteFileAtomically(path, source);
}

Status BuildPlugin(const std::string& source, const std::string& library) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(source, ignored)) {
    return InvalidArgument(source + " is no file; `muster env new NAME` makes one");
  }
  const char* const given = std::getenv("CXX");
  const std::string compiler = given == nullptr || *given == 0 ? "c++" : given;
  std::string folder = std::filesystem::temp_directory_path() / "muster-env-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return FromErrno(folder);
  // A muster_env.h beside the source is found first.
  const Status written = WriteFileAtomically(folder + "/muster_env.h", PluginHeader());
  // What was built before stays until there is something better.
  const std::string made = library + ".new" + std::to_string(::getpid());
  const std::string command = compiler + " -std=c++17 -O2 -fPIC -shared -fvisibility=hidden -I" +
                              Quoted(folder) + " " + Quoted(source) + " -o " + Quoted(made) +
                              " 2>&1";
  std::string said;
  int status = -1;
  if (written.ok()) {
    if (FILE* const pipe = ::popen(command.c_str(), "r")) {
      char chunk[4096];  // NOLINT
      while (std::fgets(chunk, sizeof chunk, pipe) != nullptr) said += chunk;
      status = ::pclose(pipe);
    }
  }
  std::filesystem::remove_all(folder, ignored);
  if (written.ok() && status == 0) {
    return std::rename(made.c_str(), library.c_str()) == 0 ? Status() : FromErrno(library);
  }
  std::filesystem::remove(made, ignored);
  return written.ok() ? InvalidArgument(source + " does not compile:\n" + said) : written;
}

}  // namespace muster::envs
