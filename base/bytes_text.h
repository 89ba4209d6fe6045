// Amounts of memory and of data in words.
#pragma once

#include <cstdint>
#include <string>

namespace muster {

// "512 B", "4.0 KiB", "1.5 MiB".
std::string BytesText(std::uint64_t bytes);

}  // namespace muster
