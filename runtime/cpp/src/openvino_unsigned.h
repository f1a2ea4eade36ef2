// Signed activations that are never negative, as unsigned integers: runtime/engines/openvino_unsigned.py in C++.
#pragma once

#include <memory>
#include <openvino/openvino.hpp>

namespace rne {

// Turns every ReLU before a signed FakeQuantize without a zero point into a clamp, and its integers into UINT8; moves
// MaxPools between the two behind the multiplication by the scale.
void make_unsigned(const std::shared_ptr<ov::Model> &model);

} // namespace rne
