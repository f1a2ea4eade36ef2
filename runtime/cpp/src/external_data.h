// Whether an ONNX file has weights in other files, for which no hash would be checked.
#pragma once

#include <cstdint>
#include <vector>

namespace rne {

// By the rules of runtime/bundle/external_data.py. What is no protobuf has none: engines refuse it.
bool has_external_data(const std::vector<std::uint8_t> &model);

} // namespace rne
