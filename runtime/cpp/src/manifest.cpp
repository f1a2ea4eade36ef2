// bundle.json and model.plan.json; their schemas are runtime/manifest.py's and runtime/trt/sidecar.py's.
#include <nlohmann/json.hpp>

#include "bundle.h"
#include "status.h"

namespace rne {
namespace {

using nlohmann::json;

// What this library reads; a newer manifest may mean something else by the same words.
constexpr int kSchemaVersion = 1;
// A size beyond this is no image size but damage.
constexpr std::size_t kLargestSide = 16384;

[[noreturn]] void refuse(const std::string &file, const std::string &why, const std::string &next) {
    throw Error(RNE_BUNDLE, file + " " + why + ": " + next);
}

json parse(const void *text, std::size_t bytes, const char *file, const char *next) {
    const auto *at = static_cast<const char *>(text);
    json parsed = json::parse(at, at + bytes, nullptr, false);
    if (parsed.is_discarded() || !parsed.is_object()) {
        refuse(file, "is not a JSON object", next);
    }
    const auto version = parsed.find("schema_version");
    if (version != parsed.end() && version->is_number_integer() && *version > kSchemaVersion) {
        refuse(file,
               "has schema version " + version->dump() + ", this library reads up to " + std::to_string(kSchemaVersion),
               "build a newer resnet_engine");
    }
    return parsed;
}

std::size_t side(const json &value) {
    const auto size = value.get<std::size_t>();
    if (value.get<double>() < 1 || size > kLargestSide) {
        throw Error(RNE_BUNDLE, "bundle.json has a size of " + value.dump() + ", expected 1 to " +
                                    std::to_string(kLargestSide) + ": export the bundle again");
    }
    return size;
}

std::array<float, 3> three(const json &value) {
    const auto numbers = value.get<std::vector<double>>();
    if (numbers.size() != 3) {
        throw Error(RNE_BUNDLE, "bundle.json has " + std::to_string(numbers.size()) +
                                    " numbers for three channels: export the bundle again");
    }
    return {float(numbers[0]), float(numbers[1]), float(numbers[2])};
}

void read_preprocessing(const json &value, Manifest &manifest) {
    manifest.resize.image_size = side(value.at("image_size"));
    manifest.resize.resize_size = side(value.at("resize_size"));
    const auto filter = value.at("interpolation").get<std::string>();
    manifest.resize.bicubic = filter == "bicubic";
    manifest.mean = three(value.at("mean"));
    manifest.std = three(value.at("std"));
    const auto rule = value.at("resampling").get<std::string>();
    if (rule != "pillow-antialias-horizontal-first" || value.at("colour") != "RGB" ||
        (filter != "bilinear" && filter != "bicubic")) {
        refuse("bundle.json", "asks for preprocessing that this library does not know (" + rule + ", " + filter + ")",
               "build a newer resnet_engine");
    }
    if (manifest.resize.image_size > manifest.resize.resize_size) {
        refuse("bundle.json", "crops more than it resizes to", "export the bundle again");
    }
}

void read_tensors(const json &parsed, Manifest &manifest) {
    manifest.input_name = parsed.at("input").at("name");
    manifest.input_dtype = parsed.at("input").at("dtype");
    if (manifest.input_dtype != "uint8" && manifest.input_dtype != "float32") {
        refuse("bundle.json", "has an input of " + manifest.input_dtype, "export the bundle again");
    }
    for (const json &output : parsed.at("outputs")) {
        const auto name = output.at("name").get<std::string>();
        (name == "embedding" ? manifest.embedding_name : manifest.logits_name) = name;
    }
    if (manifest.embedding_name.empty() || manifest.logits_name.empty()) {
        refuse("bundle.json", "has no outputs logits and embedding", "export the bundle again");
    }
}

Manifest read_manifest(const json &parsed) {
    Manifest manifest;
    const json &model = parsed.at("model");
    manifest.model = model.at("name");
    manifest.classes = model.at("classes");
    manifest.embedding_dim = model.at("embedding_dim");
    manifest.licence = parsed.at("licence").at("spdx");
    const json &precision = parsed.at("precision");
    manifest.precision = precision.at("name");
    manifest.min_sqnr_db = precision.at("min_sqnr_db");
    const auto int8 = precision.find("int8");
    if (int8 != precision.end() && int8->is_object()) {
        manifest.int8_target = int8->at("target");
    }
    manifest.golden_images = parsed.at("golden").size();
    read_preprocessing(parsed.at("preprocessing"), manifest);
    read_tensors(parsed, manifest);
    for (const json &file : parsed.at("files")) {
        if (file.at("path") == "model.onnx") {
            manifest.model_sha256 = file.at("sha256");
        }
    }
    // Bounds that no network of this family comes near; beyond them buffers could not be sized.
    constexpr std::size_t kMost = 1 << 24;
    if (manifest.classes < 1 || manifest.classes > kMost || manifest.embedding_dim < 1 ||
        manifest.embedding_dim > kMost) {
        refuse("bundle.json", "has an impossible number of classes or features", "export the bundle again");
    }
    return manifest;
}

} // namespace

Manifest parse_manifest(const void *text, std::size_t bytes) {
    const char *next = "expected a bundle that export-ssl wrote";
    const json parsed = parse(text, bytes, "bundle.json", next);
    try {
        return read_manifest(parsed);
    } catch (const json::exception &error) {
        refuse("bundle.json", std::string("is not a manifest (") + error.what() + ")", next);
    }
}

Sidecar parse_sidecar(const void *text, std::size_t bytes) {
    const char *next = "build the plan again with `run-ssl build`";
    const json parsed = parse(text, bytes, "model.plan.json", next);
    try {
        Sidecar sidecar;
        sidecar.tensorrt = parsed.at("tensorrt");
        sidecar.gpu = parsed.at("gpu");
        sidecar.compute_capability = parsed.at("compute_capability");
        sidecar.platform = parsed.at("platform");
        sidecar.onnx_sha256 = parsed.at("onnx_sha256");
        sidecar.plan_sha256 = parsed.at("plan_sha256");
        sidecar.plan_bytes = parsed.at("plan_bytes");
        const json &options = parsed.at("options");
        sidecar.min_batch = options.at("profile").at("min");
        sidecar.max_batch = options.at("profile").at("max");
        sidecar.version_compatible = options.at("version_compatible");
        sidecar.hardware_compatibility = options.at("hardware_compatibility");
        return sidecar;
    } catch (const json::exception &error) {
        refuse("model.plan.json", std::string("does not describe a plan (") + error.what() + ")", next);
    }
}

} // namespace rne
