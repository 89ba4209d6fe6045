// All-reduce between two processes of one host: the ordered sum over shared memory and over Gloo,
// beside Gloo's own all-reduce and OpenMPI's.
#pragma once

#include <cstddef>
#include <ostream>
#include <vector>

#include "base/status.h"

namespace muster {

struct AllReduceBenchmarkOptions {
  std::vector<std::size_t> bytes = {std::size_t{4} << 10, std::size_t{64} << 10,
                                    std::size_t{1} << 20, std::size_t{16} << 20,
                                    std::size_t{256} << 20};
  std::size_t rounds = 9;  // Samples of each cell; contenders take turns within a round.
  double sample_ms = 20;   // About how long a sample runs.
  bool json = false;       // One JSON object of named medians instead of the table.
  // What OpenMPI is to start as a rank of its own measurement: a command that calls
  // RunAsOpenMpiRank with the same sizes and rounds. Empty: OpenMPI is left out.
  std::vector<std::string> openmpi_rank_command = {};
};

// Forks two processes, measures on rank 0 and prints a table: median time of an all-reduce in
// microseconds, its smallest and largest sample, and the bus bandwidth 2 (n - 1) / n * bytes / time
// of nccl-tests. The caller must have no other threads.
Status RunAllReduceBenchmark(const AllReduceBenchmarkOptions& options, std::ostream& out);

// In a process that mpirun has started: MPI_Allreduce, in place, of the same sizes. Rank 0 prints,
// of each size, the median, the least and the most microseconds, all in one line.
Status RunAsOpenMpiRank(const AllReduceBenchmarkOptions& options, std::ostream& out);

}  // namespace muster
