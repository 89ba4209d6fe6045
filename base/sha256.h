// SHA-256, as 64 lower-case hexadecimal digits. Source: FIPS 180-4 (OpenSSL's implementation).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace muster {

inline constexpr std::size_t kSha256Digits = 64;

// A hash in progress; not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(const void* data, std::size_t bytes);
  // The digest of everything given so far. Call once.
  std::string Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string Sha256Of(std::string_view data);

// The digest of a file's contents, read in blocks. Any error of open or read.
Result<std::string> Sha256OfFile(const std::string& path);

}  // namespace muster
