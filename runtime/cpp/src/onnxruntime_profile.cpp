#include "onnxruntime_profile.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "status.h"

namespace rne {
namespace {

namespace fs = std::filesystem;

// onnxruntime's words for the type of a tensor to ours; products of unsigned and of signed bytes are one arithmetic.
std::string our_word(const std::string &word) {
    static const std::map<std::string, std::string> words = {
        {"float", "fp32"}, {"float16", "fp16"}, {"bfloat16", "bf16"}, {"int8", "int8"}, {"uint8", "int8"}};
    const auto found = words.find(word);
    return found == words.end() ? word : found->second;
}

bool is_kernel(const std::string &name) {
    const std::string end = "_kernel_time";
    return name.size() > end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

} // namespace

ProfileFolder::ProfileFolder() {
    std::error_code error;
    const fs::path above = fs::temp_directory_path(error);
    path_ = (above / "resnet_engine-XXXXXX").string();
    if (error || mkdtemp(path_.data()) == nullptr) {
        throw Error(RNE_BACKEND, path_ + " cannot be made for onnxruntime's profile of one inference, which says what "
                                         "it computes in: name a folder that can be written to in TMPDIR");
    }
}

ProfileFolder::~ProfileFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
}

std::string profiled_precision(const std::string &path) {
    std::ifstream file(path);
    const auto events = nlohmann::json::parse(file, nullptr, false);
    std::map<std::string, int> types;
    for (const auto &event : events) {
        if (!event.is_object() || !event.contains("args") || !is_kernel(event.value("name", ""))) {
            continue;
        }
        const auto &arguments = event["args"];
        const auto inputs = arguments.find("input_type_shape");
        if (arguments.value("op_name", "").find("Conv") == std::string::npos || inputs == arguments.end() ||
            inputs->empty() || !inputs->front().is_object() || inputs->front().empty()) {
            continue;
        }
        // Of the first input: {"float": [1, 3, 224, 224]}.
        types[our_word(inputs->front().begin().key())]++;
    }
    const auto most =
        std::max_element(types.begin(), types.end(), [](const auto &a, const auto &b) { return a.second < b.second; });
    return most == types.end() ? "unknown" : most->first;
}

} // namespace rne
