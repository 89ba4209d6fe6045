// Bearer tokens: 256 random bits, kept by servers as SHA-256 only.
#pragma once

#include <string>

#include "base/status.h"

namespace muster::wire {

// 64 hexadecimal digits from the operating system's random source.
std::string NewToken();

// The token in a file, without white space around it. kPermissionDenied when others than its owner
// may read the file; the message says how to mend that.
Result<std::string> ReadToken(const std::string& path);

// The file's token; makes the file (mode 0600) with a new token when there is none.
Result<std::string> ReadOrCreateToken(const std::string& path);

// True when SHA-256(token) == digest; takes the same time whichever digit differs.
bool TokenMatches(const std::string& token, const std::string& digest);

}  // namespace muster::wire
