// Include first in a file whose double arithmetic has to give the same bits everywhere: no fused multiply-add.
// clang's -ffp-contract=fast overrides the pragma; its default and g++'s do not.
#pragma once

#if defined(__FAST_MATH__)
#error "-ffast-math changes the weights in their last bit, and with them the pixels: build without it"
#endif

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif
