#include "trainer/data/idx_file.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/sha256.h"

namespace muster {
namespace {

constexpr std::uint8_t kUnsignedBytes = 0x08;
constexpr std::size_t kDimensionsMax = 4;
// A sample or a set beyond these is a damaged header, and their products stay within 64 bits.
constexpr std::uint64_t kSampleBytesMax = 1ULL << 28U;
constexpr std::uint64_t kDataBytesMax = 1ULL << 46U;

std::string At(const std::string& path, std::uint64_t byte) {
  return path + ": byte " + std::to_string(byte) + ": ";
}

std::string Hex(std::uint8_t value) {
  char text[5];
  std::snprintf(text, sizeof(text), "0x%02x", static_cast<unsigned>(value));
  return text;
}

Status CutOff(const std::string& path, std::uint64_t have, std::uint64_t need) {
  return DataLoss(At(path, have) + "the file ends here, but " + std::to_string(need) +
                  " bytes are expected; it is truncated");
}

struct IdxFile {
  IdxHeader header;
  std::shared_ptr<const DataBytes> file;
  std::span<const std::uint8_t> data;
};

// A whole file whose size is what its header says.
Result<IdxFile> OpenIdx(DataCache& cache, const std::string& path) {
  const auto limit_of = [&path](const DataCache::FileStart& start) -> Result<std::uint64_t> {
    MUSTER_ASSIGN_OR_RETURN(const IdxHeader header, ParseIdxHeader(start.first, path));
    const std::uint64_t promised = header.header_bytes + header.data_bytes;
    if (promised <= start.possible_bytes) return promised;
    return DataLoss(At(path, 4) + "the dimensions speak of " + std::to_string(promised) +
                    " bytes, but a file of this size holds at most " +
                    std::to_string(start.possible_bytes) + "; it is truncated");
  };
  MUSTER_ASSIGN_OR_RETURN(auto file, cache.Open(path, limit_of));
  const std::span<const std::byte> bytes = file->bytes();
  MUSTER_ASSIGN_OR_RETURN(IdxHeader header, ParseIdxHeader(bytes, path));
  const std::uint64_t expected = header.header_bytes + header.data_bytes;
  if (bytes.size() < expected) return CutOff(path, bytes.size(), expected);
  if (bytes.size() > expected) {
    return DataLoss(At(path, expected) + std::to_string(bytes.size() - expected) +
                    " bytes too many; the header speaks of " + std::to_string(expected));
  }
  if (header.dimensions[0] == 0) return InvalidArgument(At(path, 4) + "the set is empty");
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data()) + header.header_bytes;
  return IdxFile{header, file, {data, header.data_bytes}};
}

FeatureShape ShapeOf(const std::vector<std::uint64_t>& dimensions) {
  switch (dimensions.size()) {
    case 2:
      return {1, 1, dimensions[1]};
    case 3:
      return {1, dimensions[1], dimensions[2]};
    default:
      return {dimensions[1], dimensions[2], dimensions[3]};
  }
}

}  // namespace

Result<IdxHeader> ParseIdxHeader(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.empty()) return InvalidArgument(path + ": the file is empty");
  const auto byte = [&bytes](std::size_t at) { return std::to_integer<std::uint8_t>(bytes[at]); };
  if (bytes.size() < 4) return CutOff(path, bytes.size(), 4);
  if (byte(0) != 0 || byte(1) != 0) {
    return InvalidArgument(At(path, 0) + "not an IDX file: it starts with " + Hex(byte(0)) + " " +
                           Hex(byte(1)) + " where 0x00 0x00 is expected");
  }
  if (byte(2) != kUnsignedBytes) {
    return InvalidArgument(At(path, 2) + "element type " + Hex(byte(2)) +
                           " is not supported; 0x08 (unsigned byte) is");
  }
  const std::size_t count = byte(3);
  if (count == 0 || count > kDimensionsMax) {
    return InvalidArgument(At(path, 3) + std::to_string(count) +
                           " dimensions; 1 to 4 are expected");
  }
  IdxHeader header;
  header.header_bytes = 4 + 4 * count;
  if (bytes.size() < header.header_bytes) return CutOff(path, bytes.size(), header.header_bytes);
  std::uint64_t sample_bytes = 1;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t size = 0;
    for (std::size_t b = 0; b < 4; ++b) size = (size << 8U) | byte(4 + 4 * i + b);
    header.dimensions.push_back(size);
    if (i == 0) continue;
    if (size == 0) return InvalidArgument(At(path, 4 + 4 * i) + "a dimension of size 0");
    if (size > kSampleBytesMax || sample_bytes * size > kSampleBytesMax) {
      return InvalidArgument(At(path, 4 + 4 * i) + "a dimension of " + std::to_string(size) +
                             ": a sample holds at most " + std::to_string(kSampleBytesMax) +
                             " bytes");
    }
    sample_bytes *= size;
  }
  header.data_bytes = header.dimensions[0] * sample_bytes;
  if (header.data_bytes > kDataBytesMax) {
    return InvalidArgument(At(path, 4) + "the dimensions speak of " +
                           std::to_string(header.data_bytes) + " bytes");
  }
  return header;
}

Result<Dataset> ReadIdx(DataCache& cache, const IdxOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const IdxFile images, OpenIdx(cache, options.images));
  MUSTER_ASSIGN_OR_RETURN(const IdxFile labels, OpenIdx(cache, options.labels));
  if (images.header.dimensions.size() < 2) {
    return InvalidArgument(At(options.images, 3) +
                           "one dimension, as labels have; images need 2 to 4");
  }
  if (labels.header.dimensions.size() != 1) {
    return InvalidArgument(At(options.labels, 3) + std::to_string(labels.header.dimensions.size()) +
                           " dimensions; labels have one");
  }
  if (images.header.dimensions[0] != labels.header.dimensions[0]) {
    return InvalidArgument(
        options.images + " holds " + std::to_string(images.header.dimensions[0]) + " images, but " +
        options.labels + " " + std::to_string(labels.header.dimensions[0]) + " labels");
  }
  Dataset set;
  set.samples = images.header.dimensions[0];
  set.shape = ShapeOf(images.header.dimensions);
  set.u8 = images.data;
  const std::uint8_t largest = *std::max_element(labels.data.begin(), labels.data.end());
  set.classes = options.classes > 0 ? options.classes : largest + 1;
  if (largest >= set.classes) {
    const auto bad = std::find_if(labels.data.begin(), labels.data.end(),
                                  [&set](std::uint8_t label) { return label >= set.classes; });
    const auto sample = static_cast<std::uint64_t>(bad - labels.data.begin());
    return InvalidArgument(At(options.labels, labels.header.header_bytes + sample) + "label " +
                           std::to_string(*bad) + " of sample " + std::to_string(sample) +
                           " is out of range; labels are 0 to " + std::to_string(set.classes - 1));
  }
  set.labels.assign(labels.data.begin(), labels.data.end());
  set.sha256 = Sha256Of("idx " + images.file->sha256() + " " + labels.file->sha256());
  for (const auto& file : {images.file, labels.file}) {
    if (!file->note().empty()) set.notes.push_back(file->note());
    set.owners.push_back(file);
  }
  return set;
}

}  // namespace muster
