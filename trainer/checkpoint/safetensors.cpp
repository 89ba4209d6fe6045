#include "trainer/checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace muster {
namespace {

static_assert(std::endian::native == std::endian::little, "arrays are written as they lie");

constexpr std::size_t kPrefixBytes = 8;
constexpr std::size_t kAlignmentBytes = 64;
constexpr std::uint64_t kHeaderBytesMax = 64ULL << 20U;
constexpr std::size_t kRankMax = 16;
constexpr std::uint64_t kElementsMax = 1ULL << 48U;

struct TypeEntry {
  ArrayType type;
  const char* name;
  std::uint64_t bytes;
};
constexpr TypeEntry kTypes[] = {{ArrayType::kF32, "F32", 4},
                                {ArrayType::kF64, "F64", 8},
                                {ArrayType::kI64, "I64", 8},
                                {ArrayType::kU8, "U8", 1}};

const TypeEntry& EntryOf(ArrayType type) { return kTypes[static_cast<std::size_t>(type)]; }
std::uint64_t ElementBytes(ArrayType type) { return EntryOf(type).bytes; }
const char* Name(ArrayType type) { return EntryOf(type).name; }

struct Place {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// nlohmann keeps the last of two equal keys; here they are an error.
class KeyWatch {
 public:
  bool operator()(int /*depth*/, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) open_.emplace_back();
    if (event == Event::object_end) open_.pop_back();
    if (event == Event::key) doubled_ |= !open_.back().insert(value.get<std::string>()).second;
    return true;
  }
  bool doubled() const { return doubled_; }

 private:
  std::vector<std::set<std::string>> open_;
  bool doubled_ = false;
};

Status Damaged(const std::string& name, const std::string& what) {
  return DataLoss(name + ": " + what);
}

// The header's JSON object; `data_begin` is where the arrays start.
Result<nlohmann::json> ParseHeader(std::span<const std::byte> bytes, const std::string& name,
                                   std::uint64_t& data_begin) {
  if (bytes.size() < kPrefixBytes) return Damaged(name, "too short for a safetensors file");
  std::uint64_t header_bytes = 0;
  for (std::size_t i = kPrefixBytes; i-- > 0;) {
    header_bytes = (header_bytes << 8U) | std::to_integer<std::uint64_t>(bytes[i]);
  }
  if (header_bytes > kHeaderBytesMax || header_bytes > bytes.size() - kPrefixBytes) {
    return Damaged(name, "the header's size, " + std::to_string(header_bytes) +
                             " bytes, does not fit the file's " + std::to_string(bytes.size()));
  }
  data_begin = kPrefixBytes + header_bytes;
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + kPrefixBytes;
  KeyWatch watch;
  nlohmann::json header = nlohmann::json::parse(text, text + header_bytes, std::ref(watch), false);
  if (header.is_discarded() || !header.is_object()) {
    return Damaged(name, "the header is not a JSON object");
  }
  if (watch.doubled()) return Damaged(name, "the header names something twice");
  return header;
}

bool IsListOfUnsigned(const nlohmann::json& list, std::size_t size_max) {
  return list.is_array() && list.size() <= size_max &&
         std::all_of(list.begin(), list.end(),
                     [](const nlohmann::json& entry) { return entry.is_number_unsigned(); });
}

Result<ArrayView> ParseArray(const nlohmann::json& entry, const std::string& where, Place& place) {
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") ||
      !entry.contains("shape") || !entry.contains("data_offsets")) {
    return Damaged(where, "an array has dtype, shape and data_offsets, and nothing else");
  }
  ArrayView array;
  const auto* const type =
      std::find_if(std::begin(kTypes), std::end(kTypes),
                   [&](const TypeEntry& known) { return entry["dtype"] == known.name; });
  if (type == std::end(kTypes)) return Damaged(where, "its type is none of F32, F64, I64 and U8");
  array.type = type->type;
  if (!IsListOfUnsigned(entry["shape"], kRankMax)) return Damaged(where, "its shape is no shape");
  std::uint64_t elements = 1;
  for (const nlohmann::json& size : entry["shape"]) {
    array.shape.push_back(size.get<std::uint64_t>());
    if (array.shape.back() > kElementsMax / std::max<std::uint64_t>(elements, 1)) {
      return Damaged(where, "its shape is too large");
    }
    elements *= array.shape.back();
  }
  const nlohmann::json& offsets = entry["data_offsets"];
  if (!IsListOfUnsigned(offsets, 2) || offsets.size() != 2) {
    return Damaged(where, "its data_offsets are not two offsets");
  }
  place = {offsets[0].get<std::uint64_t>(), offsets[1].get<std::uint64_t>()};
  if (place.begin > place.end || place.end - place.begin != elements * ElementBytes(array.type)) {
    return Damaged(where, "its data_offsets do not fit its shape");
  }
  return array;
}

template <class T>
std::span<const T> As(const ArrayView& array, ArrayType type) {
  MUSTER_CHECK(array.type == type, "an array is read as the type it has");
  MUSTER_CHECK(reinterpret_cast<std::uintptr_t>(array.bytes.data()) % alignof(T) == 0,
               "an array is read where it is aligned");
  return {reinterpret_cast<const T*>(array.bytes.data()), array.bytes.size() / sizeof(T)};
}

}  // namespace

std::uint64_t ArrayView::elements() const {
  std::uint64_t product = 1;
  for (const std::uint64_t size : shape) product *= size;
  return product;
}
std::span<const float> ArrayView::f32() const { return As<float>(*this, ArrayType::kF32); }
std::span<const double> ArrayView::f64() const { return As<double>(*this, ArrayType::kF64); }
std::span<const std::int64_t> ArrayView::i64() const {
  return As<std::int64_t>(*this, ArrayType::kI64);
}
std::span<const std::uint8_t> ArrayView::u8() const {
  return As<std::uint8_t>(*this, ArrayType::kU8);
}

ArrayView ViewOf(std::span<const float> values, std::vector<std::uint64_t> shape) {
  return {ArrayType::kF32, std::move(shape), std::as_bytes(values)};
}
ArrayView ViewOf(std::span<const double> values, std::vector<std::uint64_t> shape) {
  return {ArrayType::kF64, std::move(shape), std::as_bytes(values)};
}
ArrayView ViewOf(std::span<const std::int64_t> values, std::vector<std::uint64_t> shape) {
  return {ArrayType::kI64, std::move(shape), std::as_bytes(values)};
}

ArrayView ViewOf(std::span<const std::uint8_t> values, std::vector<std::uint64_t> shape) {
  return {ArrayType::kU8, std::move(shape), std::as_bytes(values)};
}

std::string SafetensorsHeader(const NamedArrays& arrays) {
  nlohmann::json header = nlohmann::json::object();
  std::uint64_t at = 0;
  for (const auto& [name, array] : arrays) {
    MUSTER_CHECK(array.bytes.size() == array.elements() * ElementBytes(array.type),
                 "the bytes of " + name + " do not fit its shape");
    header[name] = {{"dtype", Name(array.type)},
                    {"shape", array.shape},
                    {"data_offsets", {at, at + array.bytes.size()}}};
    at += array.bytes.size();
  }
  std::string text = header.dump();
  const std::size_t total = kPrefixBytes + text.size();
  text.append((kAlignmentBytes - total % kAlignmentBytes) % kAlignmentBytes, ' ');
  std::string prefix;
  for (std::size_t i = 0; i < kPrefixBytes; ++i) {
    prefix += static_cast<char>((text.size() >> (8 * i)) & 0xffU);
  }
  return prefix + text;
}

std::string EncodeSafetensors(const NamedArrays& arrays) {
  std::string file = SafetensorsHeader(arrays);
  for (const auto& [name, array] : arrays) {
    file.append(reinterpret_cast<const char*>(array.bytes.data()), array.bytes.size());
  }
  return file;
}

Result<NamedArrays> ParseSafetensors(std::span<const std::byte> bytes, const std::string& name) {
  std::uint64_t data_begin = 0;
  MUSTER_ASSIGN_OR_RETURN(const nlohmann::json header, ParseHeader(bytes, name, data_begin));
  const std::span<const std::byte> data = bytes.subspan(data_begin);
  NamedArrays arrays;
  std::vector<Place> places;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") continue;
    Place place;
    MUSTER_ASSIGN_OR_RETURN(ArrayView array, ParseArray(entry, name + ": " + key, place));
    if (place.end > data.size()) {
      return Damaged(name, key + " ends beyond the file; the file is truncated");
    }
    array.bytes = data.subspan(place.begin, place.end - place.begin);
    places.push_back(place);
    arrays.emplace(key, std::move(array));
  }
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t covered = 0;
  for (const Place& place : places) {
    if (place.begin != covered) return Damaged(name, "arrays overlap or leave a gap");
    covered = place.end;
  }
  if (covered != data.size()) return Damaged(name, "bytes after the last array");
  return arrays;
}

}  // namespace muster
