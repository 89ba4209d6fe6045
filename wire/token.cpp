#include "wire/token.h"

#include <sys/stat.h>

#include <random>

#include "base/file.h"
#include "base/sha256.h"

namespace muster::wire {

std::string NewToken() {
  std::random_device device;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string token;
  for (int word = 0; word < 8; ++word) {
    const unsigned bits = device();
    for (unsigned digit = 0; digit < 8; ++digit) token += kHex[(bits >> (4 * digit)) & 0xFU];
  }
  return token;
}

Result<std::string> ReadToken(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return FromErrno("token file " + path);
  if ((info.st_mode & 077U) != 0) {
    return Status(StatusCode::kPermissionDenied,
                  "token file " + path + " can be read by others; run: chmod 600 " + path);
  }
  MUSTER_ASSIGN_OR_RETURN(std::string token, ReadFile(path, 4096));
  while (!token.empty() && std::isspace(static_cast<unsigned char>(token.back())) != 0) {
    token.pop_back();
  }
  if (token.empty()) return InvalidArgument("token file " + path + " is empty");
  return token;
}

Result<std::string> ReadOrCreateToken(const std::string& path) {
  Result<std::string> token = ReadToken(path);
  if (token.ok()) {
    constexpr std::size_t kDigits = 64;
    const bool whole = token->size() == kDigits &&
                       token->find_first_not_of("0123456789abcdef") == std::string::npos;
    if (whole) return token;
    return InvalidArgument(path +
                           " holds no token of 64 hexadecimal digits; remove it, and a new "
                           "one is made");
  }
  if (token.status().code() != StatusCode::kNotFound) return token;
  const std::string fresh = NewToken();
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(path, fresh + "\n", 0600));
  return fresh;
}

bool TokenMatches(const std::string& token, const std::string& digest) {
  const std::string given = Sha256Of(token);
  if (given.size() != digest.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < given.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(digest[i]);
  }
  return difference == 0;
}

}  // namespace muster::wire
