// The names of data, in the journal's database. Not thread-safe: the event loop owns it.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/journal/journal.h"
#include "muster/v1/content.pb.h"

namespace muster::coordinator {

// By name. Makes the table where it is missing.
Result<std::vector<v1::DataInfo>> LoadDataNames(Journal& journal);

// Each belongs to the journal's open transaction, or opens one.
Status JournalDataName(Journal& journal, const v1::DataInfo& data);
Status JournalDataRemoval(Journal& journal, const std::string& name);

}  // namespace muster::coordinator
