// SHA-256. Source: FIPS 180-4, section 6.2.
#pragma once

#include <cstddef>
#include <string>

namespace rne {

// The digest as 64 lower-case hexadecimal digits.
std::string sha256_hex(const void *data, std::size_t bytes);

} // namespace rne
