// Certificates of a cluster: its own authority, which signs the coordinator's certificate and, when
// they join, the workers'. Clients trust this authority alone (RFC 5280, ECDSA on P-256).
//
// All texts are PEM. Errors of the library are kInternal, unusable input is kInvalidArgument.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace muster::wire {

struct KeyPair {
  std::string key;          // PKCS #8, to be kept in a 0600 file.
  std::string certificate;  // X.509.
};

// A self-signed authority that may sign certificates but no further authorities.
Result<KeyPair> MakeAuthority(const std::string& common_name, int days);

// For a server that is reached by these names and addresses ("node-1", "10.0.0.7", "::1").
Result<KeyPair> MakeServerCertificate(const KeyPair& authority,
                                      const std::vector<std::string>& hosts, int days);

struct SigningRequest {
  std::string key;      // Never leaves the machine that made it.
  std::string request;  // PKCS #10.
};
Result<SigningRequest> MakeSigningRequest(const std::string& common_name);

// Under what name a worker's certificate serves: the same for all of them, and nobody's address. So
// one setting of Prometheus reaches each, and no worker passes for the coordinator or another host.
inline constexpr const char* kWorkerServerName = "worker.muster.internal";

// A certificate for the request's key: of a client in the name that the authority gives, whatever
// name the request asks for, and of a server under kWorkerServerName. kInvalidArgument unless its
// signature proves the key.
Result<std::string> SignWorkerRequest(const KeyPair& authority, const std::string& request,
                                      const std::string& common_name, int days);

// SHA-256 of the DER form, in hexadecimal; stays the same however the PEM text is wrapped.
Result<std::string> CertificateSha256(const std::string& certificate);
// Seconds since 1970 at which it expires.
Result<std::int64_t> CertificateExpiry(const std::string& certificate);

}  // namespace muster::wire
