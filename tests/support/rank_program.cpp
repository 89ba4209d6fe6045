// `muster rank ASSIGNMENT` without the rest of muster.
#include "worker/rank/rank.h"

int main(int argc, char** argv) { muster::rank::RunRank(argv[argc - 1]); }
