#include "base/sha256.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "base/file.h"

namespace muster {

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  MUSTER_CHECK(EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr) == 1, "SHA-256 of OpenSSL");
}

Sha256::~Sha256() = default;

void Sha256::Update(const void* data, std::size_t bytes) {
  MUSTER_CHECK(EVP_DigestUpdate(context_->evp, data, bytes) == 1, "SHA-256 of OpenSSL");
}

std::string Sha256::Finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  MUSTER_CHECK(EVP_DigestFinal_ex(context_->evp, digest.data(), &size) == 1, "SHA-256 of OpenSSL");
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kHex[digest[i] >> 4U];
    text += kHex[digest[i] & 0x0FU];
  }
  return text;
}

std::string Sha256Of(std::string_view data) {
  Sha256 hash;
  hash.Update(data.data(), data.size());
  return hash.Finish();
}

Result<std::string> Sha256OfFile(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor file, FileDescriptor::Open(path, O_RDONLY));
  Sha256 hash;
  std::vector<char> block(std::size_t{1} << 20U);
  while (true) {
    const ssize_t got = ::read(file.get(), block.data(), block.size());
    if (got < 0) return FromErrno("read " + path);
    if (got == 0) return hash.Finish();
    hash.Update(block.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace muster
