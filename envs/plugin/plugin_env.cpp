#include "envs/plugin/plugin_env.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sstream>
#include <utility>

#include "base/file.h"
#include "envs/episodic_env.h"
#include "envs/plugin/crash_report.h"
#include "envs/plugin/muster_env.h"

namespace muster::envs {
namespace {

constexpr std::int64_t kElementsMax = 1 << 26;

struct Library {
  void* handle = nullptr;
  const muster_env_api* api = nullptr;

  Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (handle != nullptr) ::dlclose(handle);
  }
};

std::string FileName(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

// What a program is built for, as its ELF header says.
struct Architecture {
  std::uint8_t bits = 0;   // ELFCLASS32 or ELFCLASS64.
  std::uint8_t order = 0;  // Of bytes.
  std::uint16_t machine = 0;
  bool operator==(const Architecture&) const = default;

  std::string Text() const {
    const std::string width = bits == ELFCLASS32 ? " (32 bits)" : "";
    if (machine == EM_X86_64) return "x86-64" + width;
    if (machine == EM_AARCH64) return "AArch64" + width;
    if (machine == EM_386) return "x86" + width;
    if (machine == EM_ARM) return "ARM" + width;
    if (machine == EM_RISCV) return "RISC-V" + width;
    return "ELF machine " + std::to_string(machine) + width;
  }
};

// Nothing for what is no ELF file.
std::optional<Architecture> ArchitectureOf(const std::string& path) {
  const Result<FileDescriptor> file = FileDescriptor::Open(path, O_RDONLY | O_NONBLOCK);
  if (!file.ok()) return std::nullopt;
  Elf64_Ehdr header = {};  // That of 32 bits begins with the same fields.
  constexpr ssize_t kNeeded = offsetof(Elf64_Ehdr, e_version);
  if (::read(file->get(), &header, sizeof header) < kNeeded) return std::nullopt;
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  return Architecture{header.e_ident[EI_CLASS], header.e_ident[EI_DATA], header.e_machine};
}

// The linker's own words for another architecture are that there is no such file.
Status CheckArchitecture(const std::string& path, const std::string& absolute) {
  const std::optional<Architecture> library = ArchitectureOf(absolute);
  if (!library) return InvalidArgument("environment " + path + " is no shared library");
  const std::optional<Architecture> own = ArchitectureOf("/proc/self/exe");
  if (!own || *own == *library) return {};
  return InvalidArgument("environment " + path + " is built for " + library->Text() +
                         ", and this machine is " + own->Text() +
                         ": build it there with `muster env build`");
}

// dlopen counts its users, so opening again is cheap and shares the library.
Result<std::shared_ptr<Library>> Open(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error || !std::filesystem::exists(absolute, error)) {
    return NotFound("there is no environment " + path + ": no such file");
  }
  MUSTER_RETURN_IF_ERROR(CheckArchitecture(path, absolute));
  auto library = std::make_shared<Library>();
  const PluginCall call(FileName(path), "dlopen", 0,
                        {});  // A library that is cut off can crash it.
  library->handle = ::dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library->handle == nullptr) {
    return InvalidArgument("environment " + path + " cannot be loaded: " + ::dlerror());
  }
  const auto plugin =
      reinterpret_cast<const muster_env_api* (*)()>(::dlsym(library->handle, "muster_env_plugin"));
  if (plugin == nullptr) {
    return InvalidArgument("environment " + path +
                           " is a library without muster_env_plugin(): it needs MUSTER_ENV(Class), "
                           "see muster_env.h");
  }
  library->api = plugin();
  if (library->api == nullptr || library->api->abi != MUSTER_ENV_ABI) {
    return FailedPrecondition("environment " + path + " speaks version " +
                              std::to_string(library->api == nullptr ? 0 : library->api->abi) +
                              " of the plug-in interface, this Muster version " +
                              std::to_string(MUSTER_ENV_ABI) +
                              ": build it again with `muster env build`");
  }
  const muster_env_api& api = *library->api;
  if (api.size < offsetof(muster_env_api, options) || !api.create || !api.destroy || !api.spec ||
      !api.reset || !api.step || !api.last_error ||
      (api.save == nullptr) != (api.load == nullptr)) {
    return InvalidArgument("environment " + path + " leaves out functions that it must have");
  }
  return library;
}

Result<Space> SpaceOf(const muster_space& from, const char* what) {
  const std::string name = what;
  if (from.rank < 0 || from.rank > MUSTER_ENV_RANK_MAX) return InvalidArgument(name + ": bad rank");
  std::int64_t elements = 1;
  Space space;
  for (std::int32_t i = 0; i < from.rank; ++i) {
    if (from.shape[i] < 1 || from.shape[i] > kElementsMax / elements) {
      return InvalidArgument(name + ": a size of its shape is not in range");
    }
    elements *= from.shape[i];
    space.shape.push_back(static_cast<std::size_t>(from.shape[i]));
  }
  const auto count = static_cast<std::size_t>(elements);
  if (from.kind == MUSTER_DISCRETE || from.kind == MUSTER_MULTI_DISCRETE) {
    if (from.choices == nullptr || from.rank != (from.kind == MUSTER_DISCRETE ? 0 : 1)) {
      return InvalidArgument(name + ": its shape is not that of choices");
    }
    space.kind = from.kind == MUSTER_DISCRETE ? SpaceKind::kDiscrete : SpaceKind::kMultiDiscrete;
    space.dtype = DType::kInt32;
    space.choices.assign(from.choices, from.choices + count);
    for (const std::int32_t n : space.choices) {
      if (n < 1) return InvalidArgument(name + ": there must be at least one choice");
    }
    return space;
  }
  if (from.kind != MUSTER_BOX_FLOAT32 && from.kind != MUSTER_BOX_UINT8) {
    return InvalidArgument(name + ": there is no space of kind " + std::to_string(from.kind));
  }
  if ((from.bounds != 1 && from.bounds != elements) || !from.low || !from.high) {
    return InvalidArgument(name + ": a box needs one bound, or one for each element");
  }
  space.dtype = from.kind == MUSTER_BOX_FLOAT32 ? DType::kFloat32 : DType::kUint8;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = from.bounds == 1 ? 0 : i;
    if (!(from.low[at] <= from.high[at]))
      return InvalidArgument(name + ": its bounds are reversed");
    space.low.push_back(from.low[at]);
    space.high.push_back(from.high[at]);
  }
  return space;
}

Result<EnvSpec> SpecOf(const muster_env_spec* from) {
  if (from == nullptr || from->name == nullptr) return InvalidArgument("it tells no spec");
  EnvSpec spec;
  spec.name = from->name;
  MUSTER_ASSIGN_OR_RETURN(spec.observation, SpaceOf(from->observation, "observation space"));
  MUSTER_ASSIGN_OR_RETURN(spec.action, SpaceOf(from->action, "action space"));
  spec.reward_low = from->reward_low;
  spec.reward_high = from->reward_high;
  if (from->steps_max < 0) return InvalidArgument("its time limit is negative");
  spec.steps_max = static_cast<std::size_t>(from->steps_max);
  return spec;
}

class PluginEnv final : public EpisodicEnv {
 public:
  PluginEnv(std::shared_ptr<Library> library, void* env, EnvSpec spec)
      : EpisodicEnv(std::move(spec)), library_(std::move(library)), env_(env) {}
  PluginEnv(const PluginEnv&) = delete;
  PluginEnv& operator=(const PluginEnv&) = delete;
  ~PluginEnv() override {
    const PluginCall call(Name(), "destroy", 0, {});
    api().destroy(env_);
  }

  bool saves_state() const override { return api().save != nullptr; }

  std::string RenderText() const override {
    if (api().text == nullptr) return Env::RenderText();
    const PluginCall call(Name(), "text", 0, {});
    return TextOf(api().text);
  }

  // In the order in which it asked for them; none where its header was too old to tell.
  std::vector<OptionText> Options() const {
    constexpr std::size_t kNeeded = offsetof(muster_env_api, options) + sizeof(api().options);
    if (api().size < kNeeded || api().options == nullptr) return {};
    const PluginCall call(Name(), "options", 0, {});
    std::istringstream lines(TextOf(api().options));
    std::vector<OptionText> options;
    for (std::string line; std::getline(lines, line);) {
      const std::size_t key = std::min(line.find('\t'), line.size());
      const std::size_t value = std::min(line.find('\t', key + 1), line.size());
      options.push_back({line.substr(0, key),
                         key < line.size() ? line.substr(key + 1, value - key - 1) : "",
                         value < line.size() ? line.substr(value + 1) : ""});
    }
    return options;
  }

  Image RenderImage() const override {
    std::int32_t width = 0, height = 0;
    const PluginCall call(Name(), "image", 0, {});
    if (api().image == nullptr || api().image(env_, &width, &height, nullptr) != 0 || width < 1 ||
        height < 1 || width > 8192 || height > 8192) {
      return {};
    }
    Image image(static_cast<std::size_t>(width), static_cast<std::size_t>(height));
    return api().image(env_, &width, &height, image.rgb.data()) == 0 ? image : Image();
  }

 protected:
  Status Begin(std::uint64_t seed, ValueArray& observation) override {
    steps_ = 0;
    const PluginCall call(Name(), "reset", 0, {});
    return Told(api().reset(env_, seed, observation.bytes().data()));
  }

  Result<Transition> Act(ConstValues action, ValueArray& observation) override {
    muster_env_result result = {};
    {
      const PluginCall call(Name(), "step", ++steps_, action);
      const Status told = Told(api().step(env_, action.data, observation.bytes().data(), &result));
      if (!told.ok()) return FailedPrecondition(CurrentPluginCall() + ": " + told.message());
    }
    return Transition{result.reward, result.terminated != 0, result.truncated != 0};
  }

  Status SaveState(std::string& bytes) const override {
    const PluginCall call(Name(), "save", 0, {});
    bytes.resize(256);
    std::int64_t size = api().save(env_, bytes.data(), static_cast<std::int64_t>(bytes.size()));
    if (size > static_cast<std::int64_t>(bytes.size())) {
      bytes.resize(static_cast<std::size_t>(size));
      size = api().save(env_, bytes.data(), size);
    }
    if (size < 0 || size > static_cast<std::int64_t>(bytes.size())) {
      return FailedPrecondition(spec().name + " cannot save its state: " + LastError());
    }
    bytes.resize(static_cast<std::size_t>(size));
    return {};
  }
  Status LoadState(const std::string& bytes) override {
    const PluginCall call(Name(), "load", 0, {});
    return Told(api().load(env_, bytes.data(), static_cast<std::int64_t>(bytes.size())));
  }

 private:
  std::string TextOf(std::int64_t (*tell)(void*, char*, std::int64_t)) const {
    std::string text(4096, 0);
    std::int64_t size = tell(env_, text.data(), static_cast<std::int64_t>(text.size()));
    if (size > static_cast<std::int64_t>(text.size()) && size < kElementsMax) {
      text.resize(static_cast<std::size_t>(size));
      size = tell(env_, text.data(), size);
    }
    text.resize(size < 0 ? 0 : std::min(text.size(), static_cast<std::size_t>(size)));
    return text;
  }
  const muster_env_api& api() const { return *library_->api; }
  const std::string& Name() const { return spec().name; }
  Status Told(int code) const { return code == 0 ? Status() : FailedPrecondition(LastError()); }
  std::string LastError() const {
    const char* const said = api().last_error(env_);
    return said == nullptr || *said == 0 ? Name() + " does not say why" : std::string(said);
  }

  std::shared_ptr<Library> library_;
  void* env_;
  std::uint64_t steps_ = 0;
};

}  // namespace

bool IsPlugin(const std::string& name) {
  return name.size() > 3 && name.compare(name.size() - 3, 3, ".so") == 0;
}

namespace {

Result<std::unique_ptr<PluginEnv>> Load(const std::string& path, const EnvOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(std::shared_ptr<Library> library, Open(path));
  std::vector<const char*> keys, values;
  for (const auto& [key, value] : options) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  std::array<char, 512> error{};
  std::optional<PluginCall> call(std::in_place, FileName(path), "create", 0, ConstValues());
  void* const env =
      library->api->create(keys.data(), values.data(), static_cast<std::int32_t>(keys.size()),
                           error.data(), error.size());
  error.back() = 0;
  if (env == nullptr) return InvalidArgument(path + ": " + error.data());
  Result<EnvSpec> spec = SpecOf(library->api->spec(env));
  if (!spec.ok()) {
    library->api->destroy(env);
    return spec.status().During(path);
  }
  call.reset();
  return std::make_unique<PluginEnv>(std::move(library), env, std::move(*spec));
}

}  // namespace

Result<std::unique_ptr<Env>> LoadPlugin(const std::string& path, const EnvOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<PluginEnv> env, Load(path, options));
  return std::unique_ptr<Env>(std::move(env));
}

Result<std::vector<OptionText>> PluginOptions(const std::string& path, const EnvOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<PluginEnv> env, Load(path, options));
  return env->Options();
}

}  // namespace muster::envs
