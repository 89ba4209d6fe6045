// What this machine is and has.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "muster/v1/cluster.pb.h"

namespace muster::agent {

// Cores that this process may run on, ascending.
std::vector<int> AvailableCores();

// `cores` dealt out to `slots`: neighbouring cores in equal shares, none left over unless the
// shares cannot be equal; one core shared by several slots where there are fewer cores than slots.
std::vector<std::vector<int>> DealCores(const std::vector<int>& cores, std::size_t slots);

// The smaller of the machine's memory and the limits of this process's cgroups.
std::uint64_t AvailableMemoryMib();

// Equal in processes that can share memory and meet on the loopback interface: a digest of boot id,
// the namespaces of both and the mount behind /dev/shm.
std::string HostId();

std::string HostName();

// What NVIDIA's driver lists under `directory`, by minor number; empty without it.
std::vector<v1::GpuInfo> Gpus(const std::string& directory = "/proc/driver/nvidia/gpus");

// Whether less than 1 MiB is free where `folder` lies.
bool DiskIsFull(const std::string& folder);

}  // namespace muster::agent
