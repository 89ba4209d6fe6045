// How a job file names data that lie in the cluster's store, and which of its fields may.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace muster::wire {

// "store:NAME", "sha256:HEX", each maybe with "/inner/path". A file of such a name is meant by
// "./store:NAME".
struct DataReference {
  std::string name;    // Empty when it is named by its hash.
  std::string sha256;  // Empty when it is named by a name.
  std::string inner;   // A path within a folder; empty = the object itself.
};

// The one data field that names a folder. On its way to the cluster it becomes a reference; on a
// worker the path of the attempt's copy.
inline constexpr std::string_view kShippedField = "command.ship_directory";
inline constexpr std::uint64_t kShippedBytesMax = std::uint64_t{256} << 20U;
inline constexpr std::uint64_t kShippedFilesMax = 10'000;

// Whether it is meant as one: it begins with "store:" or "sha256:".
bool IsDataReference(std::string_view text);

// kInvalidArgument, to be read after the field's name: "must be store:NAME ...".
Result<DataReference> ParseDataReference(std::string_view text);

// 1 to 100 letters, digits, '-', '_' and '.', the first a letter or digit.
bool IsDataName(std::string_view name);

// Calls `map` with the dotted name and the value of every field of `message` that holds a data path
// (FieldRule.data_path), in the order of the descriptors, and sets the field to what it returns.
// Stops at the first error.
using MapDataField =
    std::function<Result<std::string>(const std::string& field, const std::string& value)>;
Status MapDataFields(google::protobuf::Message& message, const MapDataField& map);

}  // namespace muster::wire
