// The two one-axis passes, in 32-bit integers, as fast as the processor allows; every version gives the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "coefficients.h"

namespace rne {

enum class Instructions { best, plain, sse41, avx2, neon };

// Two rows at once: outputs [begin, end) of the axis, both multiples of 4.
// in: rows that begin at input pixel `origin`. Readable from there: up to the last window's end, rounded up to
//     a multiple of 8 taps, and 4 bytes more.
// out: rows that begin at output 0, 3 bytes a pixel (1 for grey, 4 for four); up to 16 bytes behind the last are
// overwritten.
using AcrossKernel = void (*)(const AxisView &axis, std::size_t begin, std::size_t end, std::size_t origin,
                              const std::uint8_t *const in[2], std::uint8_t *const out[2]);

// One output row. rows: the window's, taps rounded up to an even number of pointers, each to `bytes` bytes.
using DownKernel = void (*)(const AxisView &axis, std::size_t output, const std::uint8_t *const *rows,
                            std::size_t bytes, std::uint8_t *out);

struct Kernels {
    AcrossKernel across_rgb;
    AcrossKernel across_grey;
    AcrossKernel across_rgba; // alpha is read over
    AcrossKernel across_four; // all four channels
    DownKernel down;
};

// Null where this processor, or this build, has not got the instructions. `best` and `plain` are never null.
const Kernels *kernels_for(Instructions instructions);

// resample_x86.cpp: null on other processors.
const Kernels *x86_kernels(Instructions instructions);

// resample_neon.cpp: null but on 64-bit ARM.
const Kernels *neon_kernels(Instructions instructions);

// resample.cpp: what the others have no version of, and their short remainders.
void across_four_plain(const AxisView &axis, std::size_t begin, std::size_t end, std::size_t origin,
                       const std::uint8_t *const in[2], std::uint8_t *const out[2]);
void down_plain(const AxisView &axis, std::size_t output, const std::uint8_t *const *rows, std::size_t bytes,
                std::uint8_t *out);

} // namespace rne
