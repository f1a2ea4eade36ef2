// The passes in NEON, which every 64-bit ARM processor has. Sums are 32-bit multiply-adds, as in the plain passes: a
// table look-up spreads bytes to 32 bits, which is as many instructions as two halves of 16 bits would take.
#include "resample.h"

#if defined(__aarch64__) && defined(__GNUC__)

#include <arm_neon.h>
#include <cstring>

namespace rne {
namespace {

// Where a look-up takes no byte, it gives 0.
constexpr std::uint8_t kNone = 0xff;

inline int32x4_t rounding() { return vdupq_n_s32(1 << (kFractionBits - 1)); }

// Bytes `a`, `b`, `c` and `d` of sixteen become four 32-bit integers.
inline uint8x16_t spread(std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
    const std::size_t wanted[4] = {a, b, c, d};
    std::uint8_t order[16];
    std::memset(order, kNone, sizeof order);
    for (std::size_t i = 0; i < 4; i++) {
        order[i * 4] = static_cast<std::uint8_t>(wanted[i]);
    }
    return vld1q_u8(order);
}

inline int32x4_t look_up(uint8x16_t bytes, uint8x16_t order) { return vreinterpretq_s32_u8(vqtbl1q_u8(bytes, order)); }

// Shifts two sums right by kFractionBits in all, and clips them to 16 bits, the rest to bytes: `narrow` ends it.
inline uint16x8_t halve(int32x4_t a, int32x4_t b) { return vcombine_u16(vqshrun_n_s32(a, 16), vqshrun_n_s32(b, 16)); }
inline uint8x8_t narrow(uint16x8_t sums) { return vqshrn_n_u16(sums, kFractionBits - 16); }

// Four pixels of kStep bytes, each to 32-bit r, g, b, a.
struct PixelOrders {
    uint8x16_t first;
    uint8x16_t second;
    uint8x16_t third;
    uint8x16_t fourth;
};

template <std::size_t kStep> inline uint8x16_t pixel_order(std::size_t pixel) {
    const std::size_t at = pixel * kStep;
    return spread(at, at + 1, at + 2, kStep == 4 ? at + 3 : kNone);
}

// One output pixel: the sums of its channels.
template <std::size_t kStep>
inline int32x4_t channels_of(const AxisView &axis, std::size_t x, std::size_t origin, const std::uint8_t *in,
                             const PixelOrders &orders) {
    const std::uint8_t *at = in + (static_cast<std::size_t>(axis.first[x]) - origin) * kStep;
    const std::int32_t *weights = axis.weights + x * axis.pitch;
    int32x4_t even = rounding();
    int32x4_t odd = vdupq_n_s32(0);
    // Weights beyond the window are zeros.
    for (std::size_t k = 0; k < axis.taps; k += 4, at += 4 * kStep) {
        const uint8x16_t pixels = vld1q_u8(at);
        const int32x4_t four = vld1q_s32(weights + k);
        even = vmlaq_laneq_s32(even, look_up(pixels, orders.first), four, 0);
        odd = vmlaq_laneq_s32(odd, look_up(pixels, orders.second), four, 1);
        even = vmlaq_laneq_s32(even, look_up(pixels, orders.third), four, 2);
        odd = vmlaq_laneq_s32(odd, look_up(pixels, orders.fourth), four, 3);
    }
    return vaddq_s32(even, odd);
}

// kKept: bytes of an output pixel, of the first channels.
template <std::size_t kStep, std::size_t kKept>
void across_channels_of_row(const AxisView &axis, std::size_t begin, std::size_t end, std::size_t origin,
                            const std::uint8_t *in, std::uint8_t *out) {
    const PixelOrders orders = {pixel_order<kStep>(0), pixel_order<kStep>(1), pixel_order<kStep>(2),
                                pixel_order<kStep>(3)};
    static constexpr std::uint8_t kDropFourth[16] = {0,  1,  2,  4,  5,     6,     8,     9,
                                                     10, 12, 13, 14, kNone, kNone, kNone, kNone};
    const uint8x16_t drop_fourth = vld1q_u8(kDropFourth);
    for (std::size_t x = begin; x < end; x += 4) {
        const int32x4_t a = channels_of<kStep>(axis, x, origin, in, orders);
        const int32x4_t b = channels_of<kStep>(axis, x + 1, origin, in, orders);
        const int32x4_t c = channels_of<kStep>(axis, x + 2, origin, in, orders);
        const int32x4_t d = channels_of<kStep>(axis, x + 3, origin, in, orders);
        const uint8x16_t pixels = vcombine_u8(narrow(halve(a, b)), narrow(halve(c, d)));
        vst1q_u8(out + x * kKept, kKept == 4 ? pixels : vqtbl1q_u8(pixels, drop_fourth));
    }
}

template <std::size_t kStep, std::size_t kKept>
void across_channels(const AxisView &axis, std::size_t begin, std::size_t end, std::size_t origin,
                     const std::uint8_t *const in[2], std::uint8_t *const out[2]) {
    across_channels_of_row<kStep, kKept>(axis, begin, end, origin, in[0], out[0]);
    if (out[1] != out[0]) {
        across_channels_of_row<kStep, kKept>(axis, begin, end, origin, in[1], out[1]);
    }
}

// One output pixel: four parts of its sum.
inline int32x4_t grey_of(const AxisView &axis, std::size_t x, std::size_t origin, const std::uint8_t *in,
                         uint8x16_t lower, uint8x16_t upper) {
    const std::uint8_t *at = in + (static_cast<std::size_t>(axis.first[x]) - origin);
    const std::int32_t *weights = axis.weights + x * axis.pitch;
    int32x4_t sum = vdupq_n_s32(0);
    for (std::size_t k = 0; k < axis.taps; k += 8) {
        const uint8x8_t eight = vld1_u8(at + k);
        const uint8x16_t pixels = vcombine_u8(eight, eight);
        sum = vmlaq_s32(sum, look_up(pixels, lower), vld1q_s32(weights + k));
        sum = vmlaq_s32(sum, look_up(pixels, upper), vld1q_s32(weights + k + 4));
    }
    return sum;
}

void across_grey_of_row(const AxisView &axis, std::size_t begin, std::size_t end, std::size_t origin,
                        const std::uint8_t *in, std::uint8_t *out) {
    const uint8x16_t lower = spread(0, 1, 2, 3);
    const uint8x16_t upper = spread(4, 5, 6, 7);
    for (std::size_t x = begin; x < end; x += 4) {
        const int32x4_t ab =
            vpaddq_s32(grey_of(axis, x, origin, in, lower, upper), grey_of(axis, x + 1, origin, in, lower, upper));
        const int32x4_t cd =
            vpaddq_s32(grey_of(axis, x + 2, origin, in, lower, upper), grey_of(axis, x + 3, origin, in, lower, upper));
        const int32x4_t sums = vaddq_s32(vpaddq_s32(ab, cd), rounding());
        const std::uint32_t bytes = vget_lane_u32(vreinterpret_u32_u8(narrow(halve(sums, sums))), 0);
        std::memcpy(out + x, &bytes, sizeof bytes);
    }
}

void across_grey(const AxisView &axis, std::size_t begin, std::size_t end, std::size_t origin,
                 const std::uint8_t *const in[2], std::uint8_t *const out[2]) {
    across_grey_of_row(axis, begin, end, origin, in[0], out[0]);
    if (out[1] != out[0]) {
        across_grey_of_row(axis, begin, end, origin, in[1], out[1]);
    }
}

// Sums of sixteen bytes of one output row.
struct Sums {
    int32x4_t first = rounding();
    int32x4_t second = rounding();
    int32x4_t third = rounding();
    int32x4_t fourth = rounding();
};

inline void accumulate(Sums &sums, uint8x16_t bytes, const PixelOrders &orders, int32x4_t weight) {
    sums.first = vmlaq_s32(sums.first, look_up(bytes, orders.first), weight);
    sums.second = vmlaq_s32(sums.second, look_up(bytes, orders.second), weight);
    sums.third = vmlaq_s32(sums.third, look_up(bytes, orders.third), weight);
    sums.fourth = vmlaq_s32(sums.fourth, look_up(bytes, orders.fourth), weight);
}

inline void store(std::uint8_t *out, const Sums &sums) {
    vst1q_u8(out, vcombine_u8(narrow(halve(sums.first, sums.second)), narrow(halve(sums.third, sums.fourth))));
}

// kBlock: 1 or 2 times sixteen bytes, from byte `at` on.
template <std::size_t kBlock>
inline void down_block(const AxisView &axis, std::size_t output, const std::uint8_t *const *rows, std::size_t at,
                       const PixelOrders &orders, std::uint8_t *out) {
    const std::int32_t *weights = axis.weights + output * axis.pitch;
    Sums sums;
    Sums next;
    for (std::size_t k = 0; k < axis.taps; k++) {
        const int32x4_t weight = vld1q_dup_s32(weights + k);
        accumulate(sums, vld1q_u8(rows[k] + at), orders, weight);
        if (kBlock == 2) {
            accumulate(next, vld1q_u8(rows[k] + at + 16), orders, weight);
        }
    }
    store(out + at, sums);
    if (kBlock == 2) {
        store(out + at + 16, next);
    }
}

void down(const AxisView &axis, std::size_t output, const std::uint8_t *const *rows, std::size_t bytes,
          std::uint8_t *out) {
    if (bytes < 16) {
        down_plain(axis, output, rows, bytes, out);
        return;
    }
    const PixelOrders orders = {pixel_order<4>(0), pixel_order<4>(1), pixel_order<4>(2), pixel_order<4>(3)};
    std::size_t at = 0;
    for (; at + 32 <= bytes; at += 32) {
        down_block<2>(axis, output, rows, at, orders, out);
    }
    for (; at + 16 <= bytes; at += 16) {
        down_block<1>(axis, output, rows, at, orders, out);
    }
    // The last block may overlap the one before it.
    down_block<1>(axis, output, rows, bytes - 16, orders, out);
}

constexpr Kernels kNeon = {across_channels<3, 3>, across_grey, across_channels<4, 3>, across_channels<4, 4>, down};

} // namespace

const Kernels *neon_kernels(Instructions instructions) {
    return instructions == Instructions::best || instructions == Instructions::neon ? &kNeon : nullptr;
}

} // namespace rne

#else

namespace rne {

const Kernels *neon_kernels(Instructions) { return nullptr; }

} // namespace rne

#endif
