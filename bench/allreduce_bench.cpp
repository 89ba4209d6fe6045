// The all-reduce benchmark as a program: allreduce_bench [--json] [--quick].
#include <cstring>
#include <iostream>

#include "bench/allreduce.h"

int main(int argc, char** argv) {
  muster::AllReduceBenchmarkOptions options;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) options.json = true;
    if (std::strcmp(argv[i], "--quick") == 0) options.rounds = 3;
  }
  const muster::Status status = muster::RunAllReduceBenchmark(options, std::cout);
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
