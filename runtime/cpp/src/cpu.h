// What the processor has that decides what a back end computes: runtime/support/cpu.py in C++.
#pragma once

namespace rne {

// Whether INT8 kernels of this processor add products in 16 bits, where sums are clipped: x86 without VNNI and AMX.
bool int8_sums_saturate();

} // namespace rne
