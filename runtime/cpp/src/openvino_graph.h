// What the rewritings of OpenVINO's graphs share.
#pragma once

#include <array>
#include <openvino/op/ops.hpp>
#include <openvino/openvino.hpp>
#include <optional>
#include <set>

namespace rne {

// The values of a FakeQuantize's lowest and highest integer, and these integers.
struct Bounds {
    double low;
    double high;
    double lowest;
    double highest;
};

// The bounds of a FakeQuantize; none where they are not constants for the whole tensor.
inline std::optional<Bounds> bounds_of(const ov::Node &node) {
    std::array<double, 4> found{};
    for (std::size_t place = 0; place < found.size(); ++place) {
        const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node.get_input_node_shared_ptr(1 + place));
        if (!constant || ov::shape_size(constant->get_shape()) != 1) {
            return std::nullopt;
        }
        found.at(place) = constant->cast_vector<float>().front();
    }
    return Bounds{found[0], found[1], found[2], found[3]};
}

inline void move_readers(const std::set<ov::Input<ov::Node>> &readers, const ov::Output<ov::Node> &to) {
    for (auto reader : readers) {
        reader.replace_source_output(to);
    }
}

} // namespace rne
