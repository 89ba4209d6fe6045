#include "wire/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <ctime>

namespace muster::wire {
namespace {

X509* Parse(const std::string& pem) {
  BIO* memory = ::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* certificate = ::PEM_read_bio_X509(memory, nullptr, nullptr, nullptr);
  ::BIO_free(memory);
  return certificate;
}

// What OpenSSL says of the chain for this purpose; "ok" if it holds.
std::string Verify(const std::string& authority, const std::string& certificate, int purpose,
                   const std::string& host = "") {
  X509* root = Parse(authority);
  X509* leaf = Parse(certificate);
  X509_STORE* store = ::X509_STORE_new();
  ::X509_STORE_add_cert(store, root);
  X509_STORE_CTX* context = ::X509_STORE_CTX_new();
  ::X509_STORE_CTX_init(context, store, leaf, nullptr);
  ::X509_STORE_CTX_set_purpose(context, purpose);
  X509_VERIFY_PARAM* parameters = ::X509_STORE_CTX_get0_param(context);
  if (!host.empty() && ::X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) != 1) {
    ::X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), 0);
  }
  const bool holds = ::X509_verify_cert(context) == 1;
  const std::string why = ::X509_verify_cert_error_string(::X509_STORE_CTX_get_error(context));
  ::X509_STORE_CTX_free(context);
  ::X509_STORE_free(store);
  ::X509_free(leaf);
  ::X509_free(root);
  return holds ? "ok" : why;
}

std::string CommonName(const std::string& pem) {
  X509* certificate = Parse(pem);
  char name[65] = {};
  ::X509_NAME_get_text_by_NID(::X509_get_subject_name(certificate), NID_commonName, name,
                              sizeof(name));
  ::X509_free(certificate);
  return name;
}

TEST(TlsTest, AServerIsTrustedUnderItsNamesOnly) {
  const KeyPair authority = *MakeAuthority("a cluster", 10);
  const KeyPair server = *MakeServerCertificate(authority, {"node-1", "10.0.0.7", "::1"}, 5);
  for (const char* host : {"node-1", "10.0.0.7", "::1"}) {
    EXPECT_EQ(Verify(authority.certificate, server.certificate, X509_PURPOSE_SSL_SERVER, host),
              "ok");
  }
  EXPECT_EQ(Verify(authority.certificate, server.certificate, X509_PURPOSE_SSL_SERVER, "node-2"),
            "hostname mismatch");
  EXPECT_EQ(Verify(authority.certificate, server.certificate, X509_PURPOSE_SSL_SERVER, "10.0.0.8"),
            "IP address mismatch");
  const KeyPair other = *MakeAuthority("a cluster", 10);
  EXPECT_NE(Verify(other.certificate, server.certificate, X509_PURPOSE_SSL_SERVER), "ok");
}

TEST(TlsTest, AWorkerGetsTheNameThatItIsGivenAndServesUnderNoHostsName) {
  const KeyPair authority = *MakeAuthority("a cluster", 10);
  const SigningRequest request = *MakeSigningRequest("who I would like to be");
  const std::string worker = *SignWorkerRequest(authority, request.request, "node-1-0", 5);
  EXPECT_EQ(CommonName(worker), "node-1-0");
  EXPECT_EQ(Verify(authority.certificate, worker, X509_PURPOSE_SSL_CLIENT), "ok");
  EXPECT_EQ(Verify(authority.certificate, worker, X509_PURPOSE_SSL_SERVER, kWorkerServerName),
            "ok");
  for (const char* host : {"node-1-0", "node-1", "who I would like to be", "10.0.0.7"}) {
    EXPECT_NE(Verify(authority.certificate, worker, X509_PURPOSE_SSL_SERVER, host), "ok") << host;
  }
}

TEST(TlsTest, AWorkerCannotSignOthers) {
  const KeyPair authority = *MakeAuthority("a cluster", 10);
  const SigningRequest request = *MakeSigningRequest("w");
  const KeyPair worker{request.key, *SignWorkerRequest(authority, request.request, "w", 5)};
  const std::string forged =
      *SignWorkerRequest(worker, MakeSigningRequest("x")->request, "node-9-0", 5);
  EXPECT_NE(Verify(authority.certificate, forged, X509_PURPOSE_SSL_CLIENT), "ok");
}

TEST(TlsTest, KnowsCertificatesByTheirDigestAndExpiry) {
  const KeyPair one = *MakeAuthority("x", 10), two = *MakeAuthority("x", 10);
  EXPECT_EQ(CertificateSha256(one.certificate)->size(), 64U);
  EXPECT_EQ(*CertificateSha256(one.certificate), *CertificateSha256("\n" + one.certificate));
  EXPECT_NE(*CertificateSha256(one.certificate), *CertificateSha256(two.certificate));
  const std::int64_t left_s = *CertificateExpiry(one.certificate) - std::time(nullptr);
  EXPECT_GT(left_s, 10 * 86'400 - 60);
  EXPECT_LE(left_s, 10 * 86'400);
}

TEST(TlsTest, RefusesWhatIsNotWhatItShouldBe) {
  const KeyPair authority = *MakeAuthority("x", 10), other = *MakeAuthority("y", 10);
  const std::string request = MakeSigningRequest("w")->request;
  const auto message = [](const auto& result) {
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
    return result.status().message();
  };
  EXPECT_EQ(message(MakeServerCertificate(authority, {"a,IP:1.2.3.4"}, 1)),
            "'a,IP:1.2.3.4' is no host name or address");
  EXPECT_EQ(message(MakeServerCertificate({other.key, authority.certificate}, {"a"}, 1)),
            "the authority's key and certificate do not belong together");
  EXPECT_EQ(message(SignWorkerRequest(authority, "garbage", "w", 1)),
            "this is no signing request in PEM form");
  EXPECT_EQ(message(SignWorkerRequest(authority, std::string(1 << 20, 'a'), "w", 1)),
            "signing request is too large");
  EXPECT_EQ(message(SignWorkerRequest(authority, authority.certificate, "w", 1)),
            "this is no signing request in PEM form");
  std::string bent = request;  // Another key or name than the one that signed.
  bent[bent.size() / 2] = bent[bent.size() / 2] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(SignWorkerRequest(authority, bent, "w", 1).ok());
  EXPECT_EQ(message(CertificateSha256("")), "this is no certificate in PEM form");
  EXPECT_FALSE(MakeAuthority("", 1).ok());
  EXPECT_FALSE(MakeAuthority(std::string(65, 'x'), 1).ok());
}

}  // namespace
}  // namespace muster::wire
