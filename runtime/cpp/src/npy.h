// NumPy's .npy files, version 1 to 3, C-contiguous. Source: numpy.lib.format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace rne {

// The array's bytes after checking its type ("|u1", "<f4") and shape. `name` is for the message.
std::vector<std::uint8_t> read_npy(const std::vector<std::uint8_t> &file, const std::string &type,
                                   const std::vector<std::size_t> &shape, const std::string &name);

} // namespace rne
