// OpenMPI by its library's functions and symbols alone, so that nothing has to be compiled against
// it. Open MPI 2 to 5 have these: MPI_COMM_WORLD and its kin are addresses of such symbols.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "bench/allreduce.h"
#include "bench/median.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

class OpenMpi {
 public:
  static Result<OpenMpi> Load() {
    OpenMpi mpi;
    for (const char* const name : {"libmpi.so.40", "libmpi.so.20", "libmpi.so"}) {
      mpi.handle_ = ::dlopen(name, RTLD_NOW | RTLD_GLOBAL);
      if (mpi.handle_ != nullptr) break;
    }
    if (mpi.handle_ == nullptr) return NotFound("there is no OpenMPI library (libmpi.so)");
    const bool all = mpi.Find(mpi.init, "MPI_Init") && mpi.Find(mpi.finalize, "MPI_Finalize") &&
                     mpi.Find(mpi.rank, "MPI_Comm_rank") && mpi.Find(mpi.barrier, "MPI_Barrier") &&
                     mpi.Find(mpi.all_reduce, "MPI_Allreduce") &&
                     mpi.Find(mpi.broadcast, "MPI_Bcast") &&
                     mpi.Find(mpi.world, "ompi_mpi_comm_world") &&
                     mpi.Find(mpi.real, "ompi_mpi_float") && mpi.Find(mpi.sum, "ompi_mpi_op_sum");
    if (!all) return NotFound("libmpi.so is not OpenMPI's");
    return mpi;
  }

  // Of OpenMPI's handles, which are addresses.
  void *world = nullptr, *real = nullptr, *sum = nullptr;
  int (*init)(int*, char***) = nullptr;
  int (*finalize)() = nullptr;
  int (*rank)(void*, int*) = nullptr;
  int (*barrier)(void*) = nullptr;
  int (*all_reduce)(const void*, void*, int, void*, void*, void*) = nullptr;
  int (*broadcast)(void*, int, void*, int, void*) = nullptr;

 private:
  template <class Symbol>
  bool Find(Symbol& symbol, const char* name) {
    symbol = reinterpret_cast<Symbol>(::dlsym(handle_, name));
    return symbol != nullptr;
  }
  void* handle_ = nullptr;
};

// Microseconds of one call, the mean over `calls` of them.
double Sample(const OpenMpi& mpi, std::vector<float>& values, std::size_t count, int calls) {
  void* const in_place = reinterpret_cast<void*>(1);  // MPI_IN_PLACE.
  mpi.barrier(mpi.world);
  const auto begin = Clock::now();
  for (int i = 0; i < calls; ++i) {
    mpi.all_reduce(in_place, values.data(), static_cast<int>(count), mpi.real, mpi.sum, mpi.world);
  }
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / calls;
}

}  // namespace

Status RunAsOpenMpiRank(const AllReduceBenchmarkOptions& options, std::ostream& out) {
  MUSTER_ASSIGN_OR_RETURN(const OpenMpi mpi, OpenMpi::Load());
  if (mpi.init(nullptr, nullptr) != 0) return Internal("MPI_Init failed");
  int rank = 0;
  mpi.rank(mpi.world, &rank);
  std::vector<float> values(*std::max_element(options.bytes.begin(), options.bytes.end()) /
                            sizeof(float));
  for (const std::size_t bytes : options.bytes) {
    const std::size_t count = bytes / sizeof(float);
    Sample(mpi, values, count, 1);  // Warms up.
    float calls = static_cast<float>(
        std::clamp(options.sample_ms * 1000 / Sample(mpi, values, count, 2), 1.0, 100000.0));
    mpi.broadcast(&calls, 1, mpi.real, 0, mpi.world);
    std::vector<double> samples;
    for (std::size_t round = 0; round < options.rounds; ++round) {
      samples.push_back(Sample(mpi, values, count, static_cast<int>(calls)));
    }
    if (rank != 0) continue;
    const auto [least, most] = std::minmax_element(samples.begin(), samples.end());
    out << Median(samples) << " " << *least << " " << *most << " ";
  }
  if (rank == 0) out << std::endl;
  mpi.finalize();
  return {};
}

}  // namespace muster
