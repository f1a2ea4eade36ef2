#include "resample.h"

#include <algorithm>

namespace rne {
namespace {

constexpr std::int32_t kHalf = 1 << (kFractionBits - 1);

std::uint8_t clip(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

template <std::size_t kStep, std::size_t kColours>
void across_row(const AxisView &axis, std::size_t begin, std::size_t end, std::size_t origin, const std::uint8_t *in,
                std::uint8_t *out) {
    for (std::size_t x = begin; x < end; x++) {
        const std::uint8_t *pixel = in + (static_cast<std::size_t>(axis.first[x]) - origin) * kStep;
        const std::int32_t *weights = axis.weights + x * axis.pitch;
        std::int32_t sums[kColours];
        std::fill(sums, sums + kColours, kHalf);
        for (std::size_t k = 0; k < axis.taps; k++, pixel += kStep) {
            for (std::size_t c = 0; c < kColours; c++) {
                sums[c] += weights[k] * pixel[c];
            }
        }
        for (std::size_t c = 0; c < kColours; c++) {
            out[x * kColours + c] = clip(sums[c]);
        }
    }
}

template <std::size_t kStep, std::size_t kColours>
void across_plain(const AxisView &axis, std::size_t begin, std::size_t end, std::size_t origin,
                  const std::uint8_t *const in[2], std::uint8_t *const out[2]) {
    across_row<kStep, kColours>(axis, begin, end, origin, in[0], out[0]);
    if (out[1] != out[0]) {
        across_row<kStep, kColours>(axis, begin, end, origin, in[1], out[1]);
    }
}

constexpr Kernels kPlain = {across_plain<3, 3>, across_plain<1, 1>, across_plain<4, 3>, across_four_plain, down_plain};

} // namespace

void across_four_plain(const AxisView &axis, std::size_t begin, std::size_t end, std::size_t origin,
                       const std::uint8_t *const in[2], std::uint8_t *const out[2]) {
    across_plain<4, 4>(axis, begin, end, origin, in, out);
}

// Sums of a block stay in registers; compilers turn the inner loops into vector code (SSE2).
void down_plain(const AxisView &axis, std::size_t output, const std::uint8_t *const *rows, std::size_t bytes,
                std::uint8_t *out) {
    constexpr std::size_t kBlock = 32;
    const std::int32_t *weights = axis.weights + output * axis.pitch;
    for (std::size_t at = 0; at < bytes; at += kBlock) {
        const std::size_t count = std::min(kBlock, bytes - at);
        std::int32_t sums[kBlock];
        std::fill(sums, sums + kBlock, kHalf);
        for (std::size_t k = 0; k < axis.taps; k++) {
            for (std::size_t i = 0; i < count; i++) {
                sums[i] += weights[k] * rows[k][at + i];
            }
        }
        for (std::size_t i = 0; i < count; i++) {
            out[at + i] = clip(sums[i]);
        }
    }
}

const Kernels *kernels_for(Instructions instructions) {
    if (instructions == Instructions::plain) {
        return &kPlain;
    }
    const Kernels *found = x86_kernels(instructions);
    found = found == nullptr ? neon_kernels(instructions) : found;
    return found == nullptr && instructions == Instructions::best ? &kPlain : found;
}

} // namespace rne
