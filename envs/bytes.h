// Saved states as bytes: fixed-width little-endian fields one after the other.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace muster::envs {

class ByteWriter {
 public:
  explicit ByteWriter(std::string& bytes) : bytes_(bytes) {}

  template <class T>
  void Put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  template <class T>
  void PutAll(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  }
  // With its length before it.
  void PutText(std::string_view text) {
    Put<std::uint64_t>(text.size());
    bytes_.append(text);
  }

 private:
  std::string& bytes_;
};

// Reading beyond the end gives zeros and makes ok() false: one check at the end is enough.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <class T>
  void Get(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    Take(&value, sizeof(T));
  }
  template <class T>
  T Get() {
    T value{};
    Get(value);
    return value;
  }
  template <class T>
  void GetAll(std::span<T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    Take(values.data(), values.size_bytes());
  }
  std::string GetText() {
    const auto size = Get<std::uint64_t>();
    if (size > rest_.size()) ok_ = false;
    std::string text(rest_.substr(0, ok_ ? size : 0));
    rest_.remove_prefix(text.size());
    return text;
  }

  bool ok() const { return ok_; }
  std::size_t left() const { return rest_.size(); }

 private:
  void Take(void* to, std::size_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      if (size > 0) std::memset(to, 0, size);
      return;
    }
    if (size > 0) std::memcpy(to, rest_.data(), size);
    rest_.remove_prefix(size);
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace muster::envs
