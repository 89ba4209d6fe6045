#include "tensor/cuda/library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>

namespace muster::cuda {

namespace {

constexpr std::int32_t kDriverTooOld =
    35;                                  // cudaErrorInsufficientDriver: also where there is none.
constexpr std::int32_t kNoDevice = 100;  // cudaErrorNoDevice

std::string PathOfLibrary() {
  const char* const chosen = std::getenv("MUSTER_CUDA_LIBRARY");
  if (chosen != nullptr && *chosen != '\0') return chosen;
  std::array<char, PATH_MAX> program{};
  const ssize_t length = ::readlink("/proc/self/exe", program.data(), program.size());
  const std::string path(program.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  return path.substr(0, path.rfind('/') + 1) + "libmuster_cuda.so";
}

std::string Sizes(std::int32_t version, std::size_t table, std::size_t args) {
  return "version " + std::to_string(version) + ", " + std::to_string(table) + " + " +
         std::to_string(args) + " bytes";
}

}  // namespace

Status CheckTable(const CudaFunctions& table, const std::string& path) {
  const CudaFunctions ours;
  // The version first: of another one not even the sizes need be where they are here.
  if (table.version == ours.version && table.table_bytes == ours.table_bytes &&
      table.args_bytes == ours.args_bytes) {
    return {};
  }
  const bool alike = table.version == ours.version;
  return FailedPrecondition(
      path + " belongs to another build of Muster (it has " +
      Sizes(table.version, alike ? table.table_bytes : 0, alike ? table.args_bytes : 0) +
      ", this program " + Sizes(ours.version, ours.table_bytes, ours.args_bytes) +
      "): install both from one build");
}

Result<const CudaFunctions*> LoadLibrary(const std::string& path) {
  if (::access(path.c_str(), R_OK) != 0) {
    return NotFound("no CUDA library at " + path +
                    ": build with -DMUSTER_CUDA=ON and put it beside the program, or set "
                    "MUSTER_CUDA_LIBRARY to where it is");
  }
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    // dlerror names the file that is missing, such as libcublasLt.so.13.
    return FailedPrecondition("load " + path + ": " + ::dlerror() +
                              ": install CUDA's libraries and cuDNN, or add their folder to "
                              "LD_LIBRARY_PATH");
  }
  using Entry = const CudaFunctions* (*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(library, "MusterCudaFunctions"));
  if (entry == nullptr) {
    ::dlclose(library);
    return FailedPrecondition(path + " is no library of Muster's: it has no MusterCudaFunctions");
  }
  const CudaFunctions* const table = entry();
  MUSTER_RETURN_IF_ERROR(CheckTable(*table, path));
  return table;
}

Result<const CudaFunctions*> Library() {
  static const Result<const CudaFunctions*> kLoaded = LoadLibrary(PathOfLibrary());
  return kLoaded;
}

Result<std::int32_t> DeviceCount(const CudaFunctions& functions) {
  std::int32_t count = 0;
  const Outcome outcome = functions.DeviceCount(&count);
  if (outcome.code == kDriverTooOld) {
    return FailedPrecondition(
        std::string("no GPU can be used: no CUDA driver, or one that is too old (") + outcome.text +
        "): install NVIDIA's driver; nvidia-smi shows it");
  }
  if (outcome.code == kNoDevice || (outcome.ok() && count == 0)) {
    return NotFound(
        "the CUDA driver finds no GPU: see nvidia-smi, CUDA_VISIBLE_DEVICES and /dev/nvidia*");
  }
  if (!outcome.ok()) return Internal(std::string("count GPUs: ") + outcome.text);
  return count;
}

}  // namespace muster::cuda
