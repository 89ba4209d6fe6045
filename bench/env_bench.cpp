// env_bench [NAME]: what `muster bench env` measures, without the cluster's program.
#include <iostream>

#include "bench/env.h"

int main(int argc, char** argv) {
  muster::EnvBenchmarkOptions options;
  if (argc > 1) options.name = argv[1];
  const muster::Status status = muster::RunEnvBenchmark(options, std::cout);
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
