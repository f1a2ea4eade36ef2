#include "openvino_floats.h"

#include <cmath>
#include <vector>

#include "cpu.h"
#include "openvino_graph.h"

namespace rne {
namespace {

// What converts an output to another type.
std::vector<ov::Output<ov::Node>> conversions(const ov::Output<ov::Node> &output) {
    std::vector<ov::Output<ov::Node>> found;
    for (const auto &reader : output.get_target_inputs()) {
        if (ov::is_type<ov::op::v0::Convert>(reader.get_node())) {
            found.push_back(reader.get_node()->output(0));
        }
    }
    return found;
}

} // namespace

bool int8_kernels_differ() {
#if defined(__aarch64__) || defined(_M_ARM64)
    return true;
#else
    return int8_sums_saturate();
#endif
}

void compute_in_floats(const std::shared_ptr<ov::Model> &model) {
    for (const auto &node : model->get_ordered_ops()) {
        if (!ov::is_type<ov::op::v0::FakeQuantize>(node)) {
            continue;
        }
        const auto bounds = bounds_of(*node);
        OPENVINO_ASSERT(bounds, "a FakeQuantize without constant bounds");
        const auto [low, high, lowest, highest] = *bounds;
        const auto value = node->input_value(0);
        const auto scale = ov::op::v0::Constant::create(value.get_element_type(), {},
                                                        {static_cast<float>((high - low) / (highest - lowest))});
        std::shared_ptr<ov::Node> rounded = std::make_shared<ov::op::v5::Round>(
            std::make_shared<ov::op::v1::Divide>(value, scale), ov::op::v5::Round::RoundMode::HALF_TO_EVEN);
        // The bounds are FP32: what they say of a whole number is off by some of the last bits.
        const auto zero_point = static_cast<float>(std::round(lowest - low * (highest - lowest) / (high - low)));
        if (zero_point != 0.0F) {
            rounded = std::make_shared<ov::op::v1::Add>(
                rounded, ov::op::v0::Constant::create(value.get_element_type(), {}, {zero_point}));
        }
        const auto whole = std::make_shared<ov::op::v0::Clamp>(rounded, lowest, highest)->output(0);
        move_readers(node->output(0).get_target_inputs(), whole);
        for (const auto &integer : conversions(whole)) {
            for (const auto &again : conversions(integer)) {
                const auto type = again.get_element_type();
                const bool same = type == whole.get_element_type();
                move_readers(again.get_target_inputs(),
                             same ? whole : std::make_shared<ov::op::v0::Convert>(whole, type)->output(0));
            }
        }
    }
    model->validate_nodes_and_infer_types();
}

} // namespace rne
