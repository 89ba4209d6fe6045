// A journal that was moved away, or put back from a copy, knows less than the files beside it.
// Nothing of theirs may pass for what its jobs write from now on.
#pragma once

#include <string>

#include "base/status.h"
#include "coordinator/journal/journal.h"

namespace muster::coordinator {

// Before anything else uses the journal. New jobs get ids above those of all files in `directory`.
// When another coordinator has written there since this journal did, its epoch is raised above that
// one's, so that agents obey, and the records of jobs that have not ended are set aside as
// jobs/ID.before-EPOCH. Says on stderr what it did.
Status ReconcileFiles(Journal& journal, const std::string& directory);

}  // namespace muster::coordinator
