#include "npy.h"

#include <algorithm>
#include <cstring>

#include "status.h"

namespace rne {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr std::size_t kMagicBytes = 6;

[[noreturn]] void refuse(const std::string &name, const std::string &why) {
    throw Error(RNE_BUNDLE, name + " " + why + ": export the bundle again");
}

// The header is a Python literal, written by NumPy with these words in this form.
std::string expected_header(const std::string &type, const std::vector<std::size_t> &shape) {
    std::string dimensions;
    for (const std::size_t size : shape) {
        dimensions += std::to_string(size) + ", ";
    }
    if (shape.size() > 1) {
        dimensions.resize(dimensions.size() - 2);
    }
    return "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + dimensions + "), }";
}

} // namespace

std::vector<std::uint8_t> read_npy(const std::vector<std::uint8_t> &file, const std::string &type,
                                   const std::vector<std::size_t> &shape, const std::string &name) {
    if (file.size() < kMagicBytes + 6 || std::memcmp(file.data(), kMagic, kMagicBytes) != 0) {
        refuse(name, "is not a .npy file");
    }
    const std::uint8_t major = file[kMagicBytes];
    const std::size_t length_bytes = major == 1 ? 2 : 4;
    std::size_t length = 0;
    for (std::size_t i = 0; i < length_bytes; i++) {
        length |= std::size_t(file[kMagicBytes + 2 + i]) << (8 * i);
    }
    const std::size_t begin = kMagicBytes + 2 + length_bytes;
    if (major > 3 || length > file.size() - begin) {
        refuse(name, "is not a .npy file of version 1 to 3");
    }
    std::string header(file.begin() + std::ptrdiff_t(begin), file.begin() + std::ptrdiff_t(begin + length));
    header.erase(header.find_last_not_of(" \n") + 1);
    const std::string expected = expected_header(type, shape);
    if (header != expected) {
        refuse(name, "is " + header + ", expected " + expected);
    }
    std::size_t bytes = type == "<f4" ? 4 : 1;
    for (const std::size_t size : shape) {
        bytes *= size;
    }
    if (file.size() - begin - length != bytes) {
        refuse(name, "has " + std::to_string(file.size() - begin - length) + " bytes of values, expected " +
                         std::to_string(bytes));
    }
    return {file.end() - std::ptrdiff_t(bytes), file.end()};
}

} // namespace rne
