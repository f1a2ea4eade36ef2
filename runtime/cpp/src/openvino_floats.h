// INT8 graphs on CPUs whose INT8 kernels saturate: runtime/engines/openvino_floats.py and runtime/support/cpu.py in
// C++.
#pragma once

#include <memory>
#include <openvino/openvino.hpp>

namespace rne {

// Whether INT8 kernels of this processor add products in 16 bits, where sums are clipped: x86 without VNNI and AMX.
bool int8_sums_saturate();

// Replaces every FakeQuantize by clamp(round(x / scale)), and drops the conversions to integers and back behind it.
void compute_in_floats(const std::shared_ptr<ov::Model> &model);

} // namespace rne
