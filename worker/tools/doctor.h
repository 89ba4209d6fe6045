// Behind `muster doctor`: what this machine has and what Muster uses of it.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace muster::tools {

// One thing that was looked at.
struct Finding {
  enum class Verdict { kYes, kNote, kNo };  // Fine; works, but there is better; does not work.
  std::string topic;                        // "processor"
  Verdict verdict = Verdict::kYes;
  std::string what;  // What there is, and what is used of it.
  std::string todo;  // What to do about it; with kNote and kNo.
};

struct DoctorOptions {
  std::string state;              // Where clusters of this user keep their files.
  std::size_t cores = 1;          // That this process may use.
  std::uint64_t memory_mib = 0;   // That it may hold.
  std::string numerics_class;     // Of its ranks.
  std::vector<std::string> gpus;  // Their models, as the driver names them.
  bool json = false;              // One object a finding.
};

// Looks at and tries, in this order: processor, products, memory, threads, shared memory, network,
// disk, libraries, gpu, cuda. Takes some seconds; leaves nothing behind. Findings are told as they
// come, in lines of at most `columns` (0 = any length). Returns how many say no.
std::size_t RunDoctor(const DoctorOptions& options, unsigned columns, std::ostream& out);

// What RunDoctor prints of one: a line for people, broken at `columns` (0 = not), or an object.
std::string FindingText(const Finding& finding, unsigned columns);
std::string FindingJson(const Finding& finding);

// One by one, for tests.
Finding LookAtProcessor(const DoctorOptions& options);
Finding LookAtProducts();
Finding LookAtThreads(std::size_t cores);
Finding LookAtSharedMemory(const std::string& folder);
Finding LookAtNetwork();
Finding LookAtDisk(const std::string& state);
Finding LookAtCuda();

}  // namespace muster::tools
