#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rne {

bool int8_sums_saturate() {
#if defined(__x86_64__)
    // Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID, leaf 7.
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) {
        return true;
    }
    const bool avx512_vnni = (ecx >> 11 & 1U) != 0;
    const bool amx_int8 = (edx >> 25 & 1U) != 0;
    const bool has_subleaf = eax >= 1;
    const bool avx_vnni = has_subleaf && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1U) != 0;
    return !avx512_vnni && !amx_int8 && !avx_vnni;
#else
    return false;
#endif
}

} // namespace rne
