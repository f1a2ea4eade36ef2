#include "openvino_unsigned.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include "openvino_graph.h"

namespace rne {
namespace {

using Output = ov::Output<ov::Node>;

constexpr double kSignedLowest = -128;
constexpr double kSignedHighest = 127;
constexpr double kUnsignedHighest = 255;

// Integers without a zero point. The bounds are FP32: what they say of a whole number is off by some of the last bits.
bool is_symmetric(const Bounds &bounds) {
    const bool known = bounds.lowest == kSignedLowest ? bounds.highest == kSignedHighest
                                                      : bounds.lowest == 0 && bounds.highest == kUnsignedHighest;
    return known && bounds.high > 0 && std::round(bounds.low * bounds.highest / bounds.high) == bounds.lowest;
}

bool is_pool(const std::shared_ptr<ov::Node> &node) { return node->get_type_info().name == std::string("MaxPool"); }

// What a node reads its value through, and itself last: MaxPools and conversions that nothing else reads.
std::vector<std::shared_ptr<ov::Node>> path_to(const std::shared_ptr<ov::Node> &node) {
    std::vector<std::shared_ptr<ov::Node>> found{node};
    while (true) {
        const auto source = found.front()->input_value(0);
        const auto before = source.get_node_shared_ptr();
        if ((!is_pool(before) && !ov::is_type<ov::op::v0::Convert>(before)) || source.get_target_inputs().size() > 1) {
            return found;
        }
        found.insert(found.begin(), before);
    }
}

// The only reader of a conversion or of the subtraction of a zero point; none for what ends there.
ov::Node *read_on(const ov::Node *node) {
    if (!ov::is_type<ov::op::v0::Convert>(node) && !ov::is_type<ov::op::v1::Subtract>(node)) {
        return nullptr;
    }
    const auto readers = node->output(0).get_target_inputs();
    return readers.size() == 1 ? readers.begin()->get_node() : nullptr;
}

// Where the integers of a FakeQuantize are values again: the multiplications by the scale behind it. None where
// anything but a conversion to integers and back reads it.
std::vector<Output> dequantised(const ov::Node &node) {
    std::vector<Output> found;
    for (const auto &reader : node.output(0).get_target_inputs()) {
        const auto *to_integer = reader.get_node();
        const auto integers = to_integer->output(0).get_target_inputs();
        if (!ov::is_type<ov::op::v0::Convert>(to_integer) || integers.empty()) {
            return {};
        }
        for (const auto &again : integers) {
            ov::Node *end = again.get_node();
            for (ov::Node *next = read_on(end); next != nullptr; next = read_on(end)) {
                end = next;
            }
            if (!ov::is_type<ov::op::v1::Multiply>(end)) {
                return {};
            }
            found.push_back(end->output(0));
        }
    }
    return found;
}

// Lets the first node read an output, each other one the node before it, and returns the last one's output.
Output link(Output output, const std::vector<std::shared_ptr<ov::Node>> &nodes) {
    for (const auto &node : nodes) {
        node->input(0).replace_source_output(output);
        output = node->output(0);
    }
    return output;
}

// Lets a node read the input of its ReLU clamped to 0 ... `high`; the ReLU stays where others read it.
void clamp(ov::Node &node, double high) {
    const auto relu = node.input_value(0);
    const bool alone = relu.get_target_inputs().size() == 1;
    const auto clamped = std::make_shared<ov::op::v0::Clamp>(alone ? relu.get_node()->input_value(0) : relu, 0.0, high);
    if (alone) {
        clamped->set_friendly_name(relu.get_node()->get_friendly_name());
    }
    node.input(0).replace_source_output(clamped->output(0));
}

// Lets the readers of a signed FakeQuantize read one that writes 0 ... 127 for a value of 0 to `high`.
void write_unsigned(const ov::Node &node, double high) {
    const auto value = node.input_value(0);
    const auto constant = [type = value.get_element_type()](double number) {
        return ov::op::v0::Constant::create(type, {}, {static_cast<float>(number)});
    };
    const auto written = std::make_shared<ov::op::v0::FakeQuantize>(value, constant(0),
                                                                    constant(high / kSignedHighest * kUnsignedHighest),
                                                                    constant(0), constant(kUnsignedHighest), 256);
    for (const auto &reader : node.output(0).get_target_inputs()) {
        const auto *to_integer = reader.get_node();
        const auto converted = std::make_shared<ov::op::v0::Convert>(written, ov::element::u8);
        converted->set_friendly_name(to_integer->get_friendly_name());
        move_readers(reader.get_node()->output(0).get_target_inputs(), converted->output(0));
    }
}

} // namespace

void make_unsigned(const std::shared_ptr<ov::Model> &model) {
    for (const auto &node : model->get_ordered_ops()) {
        if (!ov::is_type<ov::op::v0::FakeQuantize>(node)) {
            continue;
        }
        const auto bounds = bounds_of(*node);
        auto path = path_to(node);
        const auto relu = path.front()->input_value(0);
        const auto ends = dequantised(*node);
        if (!bounds || !is_symmetric(*bounds) || !ov::is_type<ov::op::v0::Relu>(relu.get_node()) || ends.empty()) {
            continue;
        }
        std::vector<std::shared_ptr<ov::Node>> pools;
        std::copy_if(path.begin(), path.end(), std::back_inserter(pools), is_pool);
        // With more ends than one, each would need a MaxPool of its own.
        if (!pools.empty() && ends.size() == 1) {
            path.erase(std::remove_if(path.begin(), path.end(), is_pool), path.end());
            const auto readers = ends.front().get_target_inputs();
            link(relu, path);
            move_readers(readers, link(ends.front(), pools));
        }
        if (bounds->lowest != 0) {
            clamp(*path.front(), bounds->high);
            write_unsigned(*node, bounds->high);
        }
    }
    model->validate_nodes_and_infer_types();
}

} // namespace rne
