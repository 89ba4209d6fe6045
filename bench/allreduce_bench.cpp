// The all-reduce benchmark as a program: allreduce_bench [--json] [--quick].
#include <cstring>
#include <filesystem>
#include <iostream>

#include "bench/allreduce.h"

int main(int argc, char** argv) {
  muster::AllReduceBenchmarkOptions options;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) options.json = true;
    if (std::strcmp(argv[i], "--quick") == 0) options.rounds = 3;
  }
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  options.openmpi_rank_command = {self, "--openmpi-rank"};
  const bool rank = argc > 1 && std::strcmp(argv[1], "--openmpi-rank") == 0;
  const muster::Status status = rank ? muster::RunAsOpenMpiRank(options, std::cout)
                                     : muster::RunAllReduceBenchmark(options, std::cout);
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
