// The passes in SSE4.1 (one row in a register) and AVX2 (two rows), chosen when the program runs: the library is built
// for the oldest processor. resample_x86.inc is compiled once for each.
#include "resample.h"

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)

#include <cstring>
#include <immintrin.h>

#define RNE_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define RNE_BEGIN(isa) RNE_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define RNE_END RNE_PRAGMA(clang attribute pop)
#else
#define RNE_BEGIN(isa) RNE_PRAGMA(GCC push_options) RNE_PRAGMA(GCC target(isa))
#define RNE_END RNE_PRAGMA(GCC pop_options)
#endif

namespace rne {
namespace {

RNE_BEGIN("sse4.1")
namespace sse41 {

using Vector = __m128i;
constexpr std::size_t kRows = 1;

inline Vector zero() { return _mm_setzero_si128(); }
inline Vector every(std::int32_t value) { return _mm_set1_epi32(value); }
inline Vector add(Vector a, Vector b) { return _mm_add_epi32(a, b); }
inline Vector madd(Vector a, Vector b) { return _mm_madd_epi16(a, b); }
inline Vector hadd(Vector a, Vector b) { return _mm_hadd_epi32(a, b); }
inline Vector shuffle(Vector a, Vector order) { return _mm_shuffle_epi8(a, order); }
inline Vector interleave_low(Vector a, Vector b) { return _mm_unpacklo_epi8(a, b); }
inline Vector interleave_high(Vector a, Vector b) { return _mm_unpackhi_epi8(a, b); }
inline Vector pack32(Vector a, Vector b) { return _mm_packs_epi32(a, b); }
inline Vector pack16(Vector a, Vector b) { return _mm_packus_epi16(a, b); }
inline Vector left(Vector a, int bits) { return _mm_slli_epi32(a, bits); }
inline Vector right(Vector a, int bits) { return _mm_srai_epi32(a, bits); }
inline Vector load(const std::uint8_t *p) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p)); }
inline void store(std::uint8_t *p, Vector a) { _mm_storeu_si128(reinterpret_cast<__m128i *>(p), a); }
// The same 16 bytes for every row.
inline Vector load_shared(const void *p) { return _mm_loadu_si128(static_cast<const __m128i *>(p)); }

inline Vector load16(const std::uint8_t *const in[2], std::size_t at) { return load(in[0] + at); }
inline Vector load8(const std::uint8_t *const in[2], std::size_t at) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i *>(in[0] + at));
}
inline Vector load8_as_words(const std::uint8_t *const in[2], std::size_t at) {
    return _mm_cvtepu8_epi16(load8(in, at));
}
inline void store16(std::uint8_t *const out[2], std::size_t at, Vector a) { store(out[0] + at, a); }
inline void store4(std::uint8_t *const out[2], std::size_t at, Vector a) {
    const std::int32_t bytes = _mm_cvtsi128_si32(a);
    std::memcpy(out[0] + at, &bytes, 4);
}

#include "resample_x86.inc"

} // namespace sse41
RNE_END

RNE_BEGIN("avx2")
namespace avx2 {

using Vector = __m256i;
constexpr std::size_t kRows = 2;

inline Vector zero() { return _mm256_setzero_si256(); }
inline Vector every(std::int32_t value) { return _mm256_set1_epi32(value); }
inline Vector add(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
inline Vector madd(Vector a, Vector b) { return _mm256_madd_epi16(a, b); }
inline Vector hadd(Vector a, Vector b) { return _mm256_hadd_epi32(a, b); }
inline Vector shuffle(Vector a, Vector order) { return _mm256_shuffle_epi8(a, order); }
inline Vector interleave_low(Vector a, Vector b) { return _mm256_unpacklo_epi8(a, b); }
inline Vector interleave_high(Vector a, Vector b) { return _mm256_unpackhi_epi8(a, b); }
inline Vector pack32(Vector a, Vector b) { return _mm256_packs_epi32(a, b); }
inline Vector pack16(Vector a, Vector b) { return _mm256_packus_epi16(a, b); }
inline Vector left(Vector a, int bits) { return _mm256_slli_epi32(a, bits); }
inline Vector right(Vector a, int bits) { return _mm256_srai_epi32(a, bits); }
inline Vector load(const std::uint8_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
inline void store(std::uint8_t *p, Vector a) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), a); }
inline __m128i load_half(const std::uint8_t *p) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p)); }
inline __m128i load_quarter(const std::uint8_t *p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i *>(p)); }
inline Vector load_shared(const void *p) {
    return _mm256_broadcastsi128_si256(load_half(static_cast<const std::uint8_t *>(p)));
}

inline Vector load16(const std::uint8_t *const in[2], std::size_t at) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load_half(in[0] + at)), load_half(in[1] + at), 1);
}
inline Vector load8(const std::uint8_t *const in[2], std::size_t at) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load_quarter(in[0] + at)), load_quarter(in[1] + at), 1);
}
inline Vector load8_as_words(const std::uint8_t *const in[2], std::size_t at) {
    return _mm256_cvtepu8_epi16(_mm_unpacklo_epi64(load_quarter(in[0] + at), load_quarter(in[1] + at)));
}
inline void store16(std::uint8_t *const out[2], std::size_t at, Vector a) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(out[0] + at), _mm256_castsi256_si128(a));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(out[1] + at), _mm256_extracti128_si256(a, 1));
}
inline void store4(std::uint8_t *const out[2], std::size_t at, Vector a) {
    const std::int32_t bytes[2] = {_mm256_extract_epi32(a, 0), _mm256_extract_epi32(a, 4)};
    std::memcpy(out[0] + at, &bytes[0], 4);
    std::memcpy(out[1] + at, &bytes[1], 4);
}

#include "resample_x86.inc"

} // namespace avx2
RNE_END

constexpr Kernels kSse41 = {sse41::across_colours<3>, sse41::across_grey, sse41::across_colours<4>, across_four_plain,
                            sse41::down};
constexpr Kernels kAvx2 = {avx2::across_colours<3>, avx2::across_grey, avx2::across_colours<4>, across_four_plain,
                           avx2::down};

} // namespace

const Kernels *x86_kernels(Instructions instructions) {
    const bool best = instructions == Instructions::best;
    if ((best || instructions == Instructions::avx2) && __builtin_cpu_supports("avx2")) {
        return &kAvx2;
    }
    if ((best || instructions == Instructions::sse41) && __builtin_cpu_supports("sse4.1")) {
        return &kSse41;
    }
    return nullptr;
}

} // namespace rne

#else

namespace rne {

const Kernels *x86_kernels(Instructions) { return nullptr; }

} // namespace rne

#endif
