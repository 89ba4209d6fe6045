#include "wire/tls.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <ctime>
#include <functional>
#include <memory>

#include "base/sha256.h"

namespace muster::wire {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Request = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
using Memory = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;

constexpr std::size_t kPemBytesMax = 64 * 1024;

Status Failed(const std::string& what) {
  std::array<char, 256> reason{};
  ::ERR_error_string_n(::ERR_get_error(), reason.data(), reason.size());
  ::ERR_clear_error();
  return Internal(what + ": " + reason.data());
}

Result<std::string> PemOf(const std::string& what, const std::function<int(BIO*)>& write) {
  const Memory memory(::BIO_new(::BIO_s_mem()));
  if (memory == nullptr || write(memory.get()) != 1) return Failed("write " + what);
  char* text = nullptr;
  const long size = ::BIO_get_mem_data(memory.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

template <class T, class Read>
Result<T> FromPem(const std::string& pem, const std::string& what, Read read) {
  if (pem.size() > kPemBytesMax) return InvalidArgument(what + " is too large");
  const Memory memory(::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // An empty passphrase instead of a question on the terminal.
  T object(memory == nullptr ? nullptr
                             : read(memory.get(), nullptr, nullptr, const_cast<char*>("")));
  ::ERR_clear_error();
  if (object == nullptr) return InvalidArgument("this is no " + what + " in PEM form");
  return object;
}

Result<Certificate> ReadCertificate(const std::string& pem) {
  return FromPem<Certificate>(pem, "certificate", ::PEM_read_bio_X509);
}

Result<Key> NewKey() {
  Key key(::EVP_EC_gen("P-256"));
  if (key == nullptr) return Failed("make a key");
  return key;
}

Result<std::string> KeyText(EVP_PKEY* key) {
  return PemOf("key", [key](BIO* out) {
    return ::PEM_write_bio_PKCS8PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

Result<std::string> CertificateText(X509* certificate) {
  return PemOf("certificate",
               [certificate](BIO* out) { return ::PEM_write_bio_X509(out, certificate); });
}

bool SetName(X509_NAME* name, const std::string& common_name) {
  return ::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(common_name.data()),
                                      static_cast<int>(common_name.size()), -1, 0) == 1;
}

bool AddExtension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  ::X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(::X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  return extension != nullptr && ::X509_add_ext(certificate, extension.get(), -1) == 1;
}

// A certificate with a random serial number, valid from five minutes ago: clocks differ.
Result<Certificate> Blank(EVP_PKEY* key, const std::string& common_name, int days) {
  if (common_name.empty() || common_name.size() > 64) {
    return InvalidArgument("a certificate's name has 1 to 64 bytes: " + common_name);
  }
  Certificate certificate(::X509_new());
  std::array<unsigned char, 16> serial{};
  if (certificate == nullptr || ::RAND_bytes(serial.data(), serial.size()) != 1) {
    return Failed("make a certificate");
  }
  serial[0] &= 0x7F;  // Positive.
  const std::unique_ptr<BIGNUM, Freed<BN_free>> number(
      ::BN_bin2bn(serial.data(), serial.size(), nullptr));
  constexpr long kDaySeconds = 86'400;
  const bool made =
      number != nullptr && ::X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      ::BN_to_ASN1_INTEGER(number.get(), ::X509_get_serialNumber(certificate.get())) != nullptr &&
      ::X509_gmtime_adj(::X509_getm_notBefore(certificate.get()), -300) != nullptr &&
      ::X509_gmtime_adj(::X509_getm_notAfter(certificate.get()), days * kDaySeconds) != nullptr &&
      ::X509_set_pubkey(certificate.get(), key) == 1 &&
      SetName(::X509_get_subject_name(certificate.get()), common_name);
  if (!made) return Failed("make a certificate");
  return certificate;
}

struct Authority {
  Key key;
  Certificate certificate;
};

Result<Authority> ReadAuthority(const KeyPair& pair) {
  Authority authority;
  MUSTER_ASSIGN_OR_RETURN(authority.key,
                          FromPem<Key>(pair.key, "private key", ::PEM_read_bio_PrivateKey));
  MUSTER_ASSIGN_OR_RETURN(authority.certificate, ReadCertificate(pair.certificate));
  if (::X509_check_private_key(authority.certificate.get(), authority.key.get()) != 1) {
    ::ERR_clear_error();
    return InvalidArgument("the authority's key and certificate do not belong together");
  }
  return authority;
}

// Names the issuer, adds `extensions`, signs.
Status Sign(X509* certificate, X509* issuer, EVP_PKEY* key,
            const std::vector<std::pair<int, std::string>>& extensions) {
  bool made = ::X509_set_issuer_name(certificate, ::X509_get_subject_name(issuer)) == 1;
  for (const auto& [kind, value] : extensions) {
    made = made && AddExtension(certificate, issuer, kind, value);
  }
  if (!made || ::X509_sign(certificate, key, ::EVP_sha256()) == 0) return Failed("sign");
  return {};
}

bool IsAddress(const std::string& host) {
  std::array<unsigned char, 16> bytes{};
  return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

}  // namespace

Result<KeyPair> MakeAuthority(const std::string& common_name, int days) {
  MUSTER_ASSIGN_OR_RETURN(const Key key, NewKey());
  MUSTER_ASSIGN_OR_RETURN(const Certificate certificate, Blank(key.get(), common_name, days));
  MUSTER_RETURN_IF_ERROR(Sign(certificate.get(), certificate.get(), key.get(),
                              {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                               {NID_key_usage, "critical,keyCertSign,cRLSign"},
                               {NID_subject_key_identifier, "hash"}}));
  KeyPair pair;
  MUSTER_ASSIGN_OR_RETURN(pair.key, KeyText(key.get()));
  MUSTER_ASSIGN_OR_RETURN(pair.certificate, CertificateText(certificate.get()));
  return pair;
}

Result<KeyPair> MakeServerCertificate(const KeyPair& authority_pair,
                                      const std::vector<std::string>& hosts, int days) {
  if (hosts.empty()) return InvalidArgument("a server's certificate needs a name or an address");
  std::string names;
  for (const std::string& host : hosts) {
    // What would end the entry would begin another one.
    if (host.empty() || host.find_first_of(", \n\r\t;=") != std::string::npos) {
      return InvalidArgument("'" + host + "' is no host name or address");
    }
    names += (names.empty() ? "" : ",") + std::string(IsAddress(host) ? "IP:" : "DNS:") + host;
  }
  MUSTER_ASSIGN_OR_RETURN(const Authority authority, ReadAuthority(authority_pair));
  MUSTER_ASSIGN_OR_RETURN(const Key key, NewKey());
  MUSTER_ASSIGN_OR_RETURN(const Certificate certificate,
                          Blank(key.get(), "muster coordinator", days));
  MUSTER_RETURN_IF_ERROR(Sign(certificate.get(), authority.certificate.get(), authority.key.get(),
                              {{NID_basic_constraints, "critical,CA:FALSE"},
                               {NID_key_usage, "critical,digitalSignature"},
                               {NID_ext_key_usage, "serverAuth"},
                               {NID_subject_key_identifier, "hash"},
                               {NID_authority_key_identifier, "keyid:always"},
                               {NID_subject_alt_name, names}}));
  KeyPair pair;
  MUSTER_ASSIGN_OR_RETURN(pair.key, KeyText(key.get()));
  MUSTER_ASSIGN_OR_RETURN(pair.certificate, CertificateText(certificate.get()));
  return pair;
}

Result<SigningRequest> MakeSigningRequest(const std::string& common_name) {
  MUSTER_ASSIGN_OR_RETURN(const Key key, NewKey());
  const Request request(::X509_REQ_new());
  const bool made = request != nullptr && ::X509_REQ_set_version(request.get(), 0) == 1 &&
                    SetName(::X509_REQ_get_subject_name(request.get()), common_name) &&
                    ::X509_REQ_set_pubkey(request.get(), key.get()) == 1 &&
                    ::X509_REQ_sign(request.get(), key.get(), ::EVP_sha256()) > 0;
  if (!made) return Failed("make a signing request");
  SigningRequest result;
  MUSTER_ASSIGN_OR_RETURN(result.key, KeyText(key.get()));
  MUSTER_ASSIGN_OR_RETURN(result.request, PemOf("request", [&](BIO* out) {
                            return ::PEM_write_bio_X509_REQ(out, request.get());
                          }));
  return result;
}

Result<std::string> SignWorkerRequest(const KeyPair& authority_pair, const std::string& request_pem,
                                      const std::string& common_name, int days) {
  MUSTER_ASSIGN_OR_RETURN(const Authority authority, ReadAuthority(authority_pair));
  MUSTER_ASSIGN_OR_RETURN(const Request request, FromPem<Request>(request_pem, "signing request",
                                                                  ::PEM_read_bio_X509_REQ));
  EVP_PKEY* key = ::X509_REQ_get0_pubkey(request.get());
  if (key == nullptr || ::X509_REQ_verify(request.get(), key) != 1) {
    ::ERR_clear_error();
    return InvalidArgument("the signing request is not signed by its own key");
  }
  MUSTER_ASSIGN_OR_RETURN(const Certificate certificate, Blank(key, common_name, days));
  MUSTER_RETURN_IF_ERROR(Sign(certificate.get(), authority.certificate.get(), authority.key.get(),
                              {{NID_basic_constraints, "critical,CA:FALSE"},
                               {NID_key_usage, "critical,digitalSignature"},
                               {NID_ext_key_usage, "clientAuth,serverAuth"},
                               {NID_subject_key_identifier, "hash"},
                               {NID_authority_key_identifier, "keyid:always"},
                               {NID_subject_alt_name, std::string("DNS:") + kWorkerServerName}}));
  return CertificateText(certificate.get());
}

Result<std::string> CertificateSha256(const std::string& pem) {
  MUSTER_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(pem));
  unsigned char* der = nullptr;
  const int size = ::i2d_X509(certificate.get(), &der);
  if (size <= 0) return Failed("encode a certificate");
  const std::string digest =
      Sha256Of(std::string(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)));
  ::OPENSSL_free(der);
  return digest;
}

Result<std::int64_t> CertificateExpiry(const std::string& pem) {
  MUSTER_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(pem));
  std::tm time{};
  if (::ASN1_TIME_to_tm(::X509_get0_notAfter(certificate.get()), &time) != 1) {
    return Failed("read a certificate's time");
  }
  return static_cast<std::int64_t>(::timegm(&time));
}

}  // namespace muster::wire
