// INT8 graphs on CPUs whose INT8 kernels are another function: runtime/engines/openvino_floats.py and
// runtime/support/cpu.py in C++.
#pragma once

#include <memory>
#include <openvino/openvino.hpp>

namespace rne {

// Whether OpenVINO's INT8 kernels give another function here: sums are clipped on x86 without VNNI and AMX, and ARM's
// zero points are one too small with some scales.
bool int8_kernels_differ();

// Replaces every FakeQuantize by clamp(round(x / scale) + zero point), and drops the conversions to integers and back behind it.
void compute_in_floats(const std::shared_ptr<ov::Model> &model);

} // namespace rne
