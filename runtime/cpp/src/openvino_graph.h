// What the rewritings of OpenVINO's graphs share.
#pragma once

#include <openvino/op/ops.hpp>
#include <openvino/openvino.hpp>
#include <set>

namespace rne {

// The bounds of a FakeQuantize, which hold for the whole tensor: the values of its lowest and its highest integer, and
// these integers.
struct Bounds {
    double low;
    double high;
    double lowest;
    double highest;
};

inline Bounds bounds_of(const ov::Node &node) {
    const auto bound = [&node](std::size_t input) {
        const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node.get_input_node_shared_ptr(input));
        OPENVINO_ASSERT(constant && ov::shape_size(constant->get_shape()) == 1,
                        "a FakeQuantize without constant bounds");
        return static_cast<double>(constant->cast_vector<float>().front());
    };
    return {bound(1), bound(2), bound(3), bound(4)};
}

inline void move_readers(const std::set<ov::Input<ov::Node>> &readers, const ov::Output<ov::Node> &to) {
    for (auto reader : readers) {
        reader.replace_source_output(to);
    }
}

} // namespace rne
