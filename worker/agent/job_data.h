// What a job's data are on this worker, before its ranks start.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "muster/v1/job.pb.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/data_cache.h"

namespace muster::agent {

struct JobData {
  Status status;
  bool own_failure = false;  // The job's fault: no other attempt will find the data either.
  v1::JobSpec spec;          // The data's fields hold paths of this machine.
};

// Whether any field of `spec` names data.
bool NamesData(const v1::JobSpec& spec);

// Brings objects of the store here and checks that what is named by path is there: a regular file
// or folder that can be read and is not empty. `worker` is named in what is told.
// A shipped folder is copied to `work_folder`; a plug-in is linked there under its name.
JobData PrepareJobData(DataCache& cache, const std::string& worker, const v1::JobSpec& spec,
                       const DataCache::AttemptKey& attempt, const std::string& work_folder,
                       const DataCache::Cancelled& cancelled);

// Fetches from the coordinator, over the bulk connection.
DataCache::Source FetchFrom(CoordinatorLink& link);

}  // namespace muster::agent
