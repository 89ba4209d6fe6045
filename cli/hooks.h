// What the command line starts but does not know: main.cpp connects it with the other folders.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "muster/v1/job.pb.h"

namespace muster::cli {

struct CoordinatorArgs {
  std::string state;                      // Absolute path of the state directory.
  std::string listen = "127.0.0.1:7420";  // "host:port" of gRPC on loopback; port 0 = any free one.
  unsigned http_port = 7421;              // On the same host; 0 = any free one.
  std::uint64_t store_max_gib = 0;        // Of data; 0 = 80 % of the disk that is free.
};

struct WorkerArgs {
  unsigned number = 0;           // Of this agent on its host; its name is <hostname>-<number>.
  std::string state;             // Absolute; the agent's own folder is in it.
  unsigned slots = 1;            // Ranks it holds at once.
  unsigned cores = 0;            // Divided over the slots; 0 = all this process may use.
  std::uint64_t memory_mib = 0;  // Divided over the slots; 0 = all of the machine.
  unsigned data_cache_gib = 20;  // The most of the cluster's data it keeps that no job uses.
  unsigned leave_seconds = 60;   // When it is asked to end: for its ranks' checkpoints.
  std::string address;           // "host:port"; empty = follow the state directory's address file.
  std::string token_file;        // Absolute; unused by a worker that has joined.
  std::string interface;         // Of the ranks' own traffic; empty = towards the coordinator.
  std::string http_listen;       // "host:port" of /metrics and /healthz; empty = none.
  std::string rank_executable;   // What it starts as `EXECUTABLE rank ASSIGNMENT`; empty = itself.
};

struct EnvArgs {
  std::string action, name;           // "show", "CartPole-v1"
  std::vector<std::string> settings;  // "key=value"
  std::uint64_t seed = 0;
  std::string actions;                 // A file, or "-".
  std::string agent;                   // A job file.
  std::optional<std::uint64_t> steps;  // 1,000 where not given.
  std::optional<std::uint64_t> episodes, frame_ms;
  std::string gif;  // Where play writes one, instead of playing.
  std::uint64_t envs = 1'024;
  std::string output;
  bool json = false, no_peers = false;
};

struct Benchmark {
  std::string name;
  std::string help;      // What it measures.
  std::string settings;  // "job=FILE repetitions=20": its keys with what they are otherwise.
};

struct Hooks {
  // These three return the exit code of the process.
  int (*run_coordinator)(const CoordinatorArgs&) = nullptr;
  int (*run_worker)(const WorkerArgs&) = nullptr;
  int (*run_rank)(const std::string& assignment) = nullptr;
  // Whether the job's data are there and fit it, as far as this machine can see; of a job whose
  // workers are `elsewhere`, only what is sent along. `cache_directory` holds inflated data, shared
  // with the ranks of a local cluster.
  Status (*check_job)(const v1::JobSpec&, const std::string& cache_directory,
                      bool elsewhere) = nullptr;
  int (*run_bench)(const std::string& name, bool json,
                   const std::vector<std::string>& args) = nullptr;
  // `state`: where clusters of this user keep their files; lines of at most `columns`, 0 = any.
  int (*run_doctor)(const std::string& state, bool json, unsigned columns) = nullptr;
  Status (*run_env)(const EnvArgs&) = nullptr;
  std::vector<Benchmark> benches;  // Those that run_bench knows.
};

}  // namespace muster::cli
