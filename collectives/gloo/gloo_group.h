// GlooGroup: the ranks are processes of one or several hosts and talk TCP through Gloo.
//
// Gloo carries the messages; the order of sums is ours. An all-reduce is an all-to-all of parts, a
// local sum in the tree's order and an all-gather, in pieces that overlap; it moves what a ring
// moves. Each call begins with one small message to every peer that names the call, so a mismatch
// is found before data lands in a wrong place; up to 4 KiB of data ride along with it.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "collectives/group.h"
#include "collectives/rendezvous.h"

namespace muster {

struct GlooGroupOptions {
  // Prefix of the group's keys in the rendezvous; unique among the groups that use it. Keys are
  // `name`/<rank>.
  std::string name = "gloo";
  std::size_t rank = 0;
  std::size_t size = 1;
  // Where to listen: the name of an interface ("eth0"), or a host name or address of this host. At
  // most one of them; neither: "lo".
  std::string interface;
  std::string host;
  GroupOptions group;
};

// Collective: returns when this rank is connected to all others; kDeadlineExceeded names a rank
// that has not come. `rendezvous` is used only during the call.
// The process ignores SIGPIPE from here on, unless it handles it.
Result<std::unique_ptr<Group>> CreateGlooGroup(const GlooGroupOptions& options,
                                               Rendezvous& rendezvous);

// Gloo's own all-reduce on a group of CreateGlooGroup, for comparison alone: its order of sums
// depends on Gloo. Not counted in the statistics.
enum class GlooAlgorithm { kRing, kBcube };
Status GlooOwnAllReduce(Group& group, std::span<float> values, GlooAlgorithm algorithm);

}  // namespace muster
