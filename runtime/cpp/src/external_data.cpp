// Walks the messages of an ONNX file that lead to tensors, and skips everything else by its length.
// Sources: onnx.proto of ONNX 1.19 for numbers of fields; protobuf.dev/programming-guides/encoding.
#include "external_data.h"

#include <cstddef>

namespace rne {
namespace {

enum class Message { kModel, kTraining, kFunction, kGraph, kNode, kAttribute, kSparse, kTensor, kOther };

struct NoProtobuf {};

constexpr int kDeepest = 100; // protobuf's own limit
constexpr int kVarintBytes = 10;
constexpr std::uint32_t kExternalData = 13; // of TensorProto
constexpr std::uint32_t kDataLocation = 14; // its only value but 0 is EXTERNAL

// What a field of a message is, as far as it leads to tensors.
Message message_in(Message message, std::uint32_t field) {
    switch (message) {
    case Message::kModel:
        return field == 7    ? Message::kGraph
               : field == 20 ? Message::kTraining
               : field == 25 ? Message::kFunction
                             : Message::kOther;
    case Message::kTraining:
        return field == 1 || field == 2 ? Message::kGraph : Message::kOther;
    case Message::kFunction:
        return field == 7 ? Message::kNode : field == 11 ? Message::kAttribute : Message::kOther;
    case Message::kGraph:
        return field == 1    ? Message::kNode
               : field == 5  ? Message::kTensor
               : field == 15 ? Message::kSparse
                             : Message::kOther;
    case Message::kNode:
        return field == 5 ? Message::kAttribute : Message::kOther;
    case Message::kAttribute:
        return field == 5 || field == 10    ? Message::kTensor
               : field == 6 || field == 11  ? Message::kGraph
               : field == 22 || field == 23 ? Message::kSparse
                                            : Message::kOther;
    case Message::kSparse:
        return field == 1 || field == 2 ? Message::kTensor : Message::kOther;
    default:
        return Message::kOther;
    }
}

// The bytes of a message that are not read yet.
struct Wire {
    const std::uint8_t *at;
    const std::uint8_t *end;

    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (int place = 0; place < kVarintBytes && at != end; place++) {
            const std::uint8_t byte = *at++;
            value |= std::uint64_t(byte & 0x7F) << (7 * place);
            if (byte < 0x80) {
                return value;
            }
        }
        throw NoProtobuf();
    }

    Wire take(std::uint64_t length) {
        if (length > std::uint64_t(end - at)) {
            throw NoProtobuf();
        }
        const Wire taken{at, at + length};
        at = taken.end;
        return taken;
    }
};

bool is_external(Wire bytes, Message message, int depth) {
    if (depth > kDeepest) {
        throw NoProtobuf();
    }
    // Groups are of old versions of protobuf: an unknown one is skipped with what is in it.
    int groups = 0;
    while (bytes.at != bytes.end) {
        const auto tag = std::uint32_t(bytes.varint());
        const std::uint32_t field = tag >> 3;
        const bool of_tensor = message == Message::kTensor && groups == 0;
        Wire inside{nullptr, nullptr};
        switch (tag & 7) {
        case 0:
            if (bytes.varint() != 0 && of_tensor && field == kDataLocation) {
                return true;
            }
            break;
        case 1:
            bytes.take(8);
            break;
        case 2:
            inside = bytes.take(bytes.varint());
            break;
        case 3:
            groups++;
            break;
        case 4:
            groups--;
            break;
        case 5:
            bytes.take(4);
            break;
        default:
            throw NoProtobuf();
        }
        if (field == 0 || groups < 0) {
            throw NoProtobuf();
        }
        if (inside.at == nullptr || groups != 0) {
            continue;
        }
        const Message next = message_in(message, field);
        if ((of_tensor && field == kExternalData) ||
            (next != Message::kOther && is_external(inside, next, depth + 1))) {
            return true;
        }
    }
    return false;
}

} // namespace

bool has_external_data(const std::vector<std::uint8_t> &model) {
    try {
        return is_external({model.data(), model.data() + model.size()}, Message::kModel, 0);
    } catch (const NoProtobuf &) {
        return false;
    }
}

} // namespace rne
