// What the program of a [command] is told by its environment.
#pragma once

#include <string>
#include <vector>

#include "muster/v1/agent.pb.h"

namespace muster::rank {

// Where the ranks of a job meet.
struct Master {
  std::string address;
  int port = 0;
};

// A rank's place among those on its host, and its host's among the hosts, in the order of ranks.
struct LocalPlace {
  unsigned rank = 0;
  unsigned size = 0;
  unsigned host = 0;
};
LocalPlace LocalPlaceOf(const v1::DesiredRank& desired);

// Of rank 0 as the others reach it: 127.0.0.1 when all ranks share its host, otherwise the address
// that its agent has reported.
std::string MasterAddress(const v1::RankAssignment& assignment);

// The folder whose content is uploaded and given back: the rank's own.
std::string CheckpointFolderOf(const v1::RankAssignment& assignment);

// All of it, "NAME=value", by name. PATH, HOME, LANG, USER and TMPDIR are the agent's (defaults
// where it has none), nothing else of it is passed on; then what the job file gives; then what
// Muster sets, which wins.
std::vector<std::string> CommandEnvironment(const v1::RankAssignment& assignment,
                                            const Master& master);

}  // namespace muster::rank
