#include "openvino_floats.h"

#include <cmath>
#include <openvino/op/ops.hpp>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rne {
namespace {

// The one constant of a node's input; the bounds of an activation hold for the whole tensor.
float bound(const ov::Node &node, std::size_t input) {
    const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node.get_input_node_shared_ptr(input));
    OPENVINO_ASSERT(constant && ov::shape_size(constant->get_shape()) == 1, "a FakeQuantize without constant bounds");
    return constant->cast_vector<float>().front();
}

void move_readers(const ov::Output<ov::Node> &from, const ov::Output<ov::Node> &to) {
    for (auto reader : from.get_target_inputs()) {
        reader.replace_source_output(to);
    }
}

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

// Whether INT8 kernels of this processor add products in 16 bits, where sums are clipped: x86 without VNNI and AMX.
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
        const double low = bound(*node, 1);
        const double high = bound(*node, 2);
        const double lowest = bound(*node, 3);
        const double highest = bound(*node, 4);
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
        move_readers(node->output(0), whole);
        for (const auto &integer : conversions(whole)) {
            for (const auto &again : conversions(integer)) {
                const auto type = again.get_element_type();
                const bool same = type == whole.get_element_type();
                move_readers(again, same ? whole : std::make_shared<ov::op::v0::Convert>(whole, type)->output(0));
            }
        }
    }
    model->validate_nodes_and_infer_types();
}

} // namespace rne
