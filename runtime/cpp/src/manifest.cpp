// bundle.json and model.plan.json; their schemas are runtime/bundle/manifest.py's and runtime/bundle/plan_json.py's.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "bundle.h"
#include "status.h"

namespace rne {
namespace {

using nlohmann::json;

// What this library reads; a newer manifest may mean something else by the same words.
constexpr std::uint64_t kSchemaVersion = 1;
// A size beyond this is no image size but damage.
constexpr std::size_t kLargestSide = 16384;
// Bounds that no network of this family comes near; beyond them buffers could not be sized.
constexpr std::size_t kMostFeatures = 1 << 24;
// A plan's, and a batch's that rne_params can hold.
constexpr std::size_t kMostBytes = std::size_t{1} << 48;
constexpr std::size_t kMostBatch = 0x7fffffff;
// Of a channel's mean and deviation; their quotients stay far inside float32.
constexpr double kLargestMean = 1e6;

[[noreturn]] void refuse(const std::string &file, const std::string &why, const std::string &next) {
    throw Error(RNE_BUNDLE, file + " " + why + ": " + next);
}

// A value for a message: a number itself, of anything else its kind, which may be as long as the file.
std::string shown(const json &value) { return value.is_number() ? value.dump() : value.type_name(); }

// A manifest without the key is of version 1, as runtime/bundle/manifest.py has it.
void check_version(const json &parsed, const char *file) {
    const auto version = parsed.find("schema_version");
    if (version == parsed.end()) {
        return;
    }
    const std::string known = ", this library reads up to " + std::to_string(kSchemaVersion);
    // Not compared as JSON: nlohmann takes an unsigned number beyond 2^63 for a negative one there.
    if (version->is_number_unsigned() && version->get<std::uint64_t>() > kSchemaVersion) {
        refuse(file, "has schema version " + version->dump() + known, "build a newer resnet_engine");
    }
    if (!version->is_number_unsigned() || version->get<std::uint64_t>() < 1) {
        refuse(file, "has a schema version of " + shown(*version) + known, "make it again with export-ssl");
    }
}

json parse(const void *text, std::size_t bytes, const char *file, const char *next) {
    const auto *at = static_cast<const char *>(text);
    json parsed = json::parse(at, at + bytes, nullptr, false);
    if (parsed.is_discarded() || !parsed.is_object()) {
        refuse(file, "is not a JSON object", next);
    }
    check_version(parsed, file);
    return parsed;
}

// A whole number of 1 to `most`. nlohmann's own conversion makes some number of -1, 1.5, 1e300 and true.
std::size_t whole(const json &value, std::size_t most, const char *file = "bundle.json",
                  const char *next = "export the bundle again") {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() < 1 || value.get<std::uint64_t>() > most) {
        refuse(file, "has a size of " + shown(value) + ", expected 1 to " + std::to_string(most), next);
    }
    return value.get<std::size_t>();
}

double finite(const json &value, double least, double most) {
    if (!value.is_number() || value.get<double>() < least || value.get<double>() > most) {
        refuse("bundle.json", "has " + shown(value) + " where a number of the preprocessing belongs",
               "export the bundle again");
    }
    return value.get<double>();
}

// A number for each channel, between two bounds.
std::vector<float> per_channel(const json &value, std::size_t channels, double least, double most) {
    if (!value.is_array() || value.size() != channels) {
        refuse("bundle.json", "has not one number for each of " + std::to_string(channels) + " channels",
               "export the bundle again");
    }
    std::vector<float> numbers;
    for (const json &number : value) {
        numbers.push_back(float(finite(number, least, most)));
    }
    return numbers;
}

// Pillow's modes, one letter for each channel.
rne_pixel_format read_colour(const std::string &colour) {
    if (colour == "RGB") {
        return RNE_RGB;
    }
    if (colour == "L") {
        return RNE_GREY;
    }
    if (colour == "RGBA") {
        return RNE_RGBA;
    }
    refuse("bundle.json", "is for images of a kind that this library does not know (" + colour + ")",
           "build a newer resnet_engine");
}

struct Sides {
    std::size_t height;
    std::size_t width;
};

// A size is one number, or a height and a width.
Sides sides(const json &value) {
    if (!value.is_array()) {
        const std::size_t side = whole(value, kLargestSide);
        return {side, side};
    }
    if (value.size() != 2) {
        refuse("bundle.json", "has a size that is neither a number nor a height and a width",
               "export the bundle again");
    }
    return {whole(value[0], kLargestSide), whole(value[1], kLargestSide)};
}

rne_resize_mode read_mode(const json &value) {
    const auto mode = value.value("resize_mode", std::string("short"));
    if (mode == "short") {
        return RNE_SHORT;
    }
    if (mode == "cover") {
        return RNE_COVER;
    }
    if (mode == "squash") {
        return RNE_SQUASH;
    }
    refuse("bundle.json", "has a resize mode that this library does not know (" + mode + ")",
           "build a newer resnet_engine");
}

void read_preprocessing(const json &value, Manifest &manifest) {
    const Sides kept = sides(value.at("image_size"));
    const Sides resized = sides(value.at("resize_size"));
    manifest.resize.image_height = kept.height;
    manifest.resize.image_width = kept.width;
    manifest.resize.resize_height = resized.height;
    manifest.resize.resize_width = resized.width;
    manifest.resize.mode = read_mode(value);
    // What decodes the images has to know these two.
    manifest.exif_rotate = value.value("exif_rotate", false);
    const auto depth16 = value.value("depth16", std::string("clip"));
    manifest.depth16_scale = depth16 == "scale";
    const auto filter = value.at("interpolation").get<std::string>();
    manifest.resize.bicubic = filter == "bicubic";
    const auto colour = value.at("colour").get<std::string>();
    manifest.resize.colour = read_colour(colour);
    // Pixels are scaled to 0..1 before; a divisor of zero would make every output infinite.
    manifest.mean = per_channel(value.at("mean"), colour.size(), -kLargestMean, kLargestMean);
    manifest.std = per_channel(value.at("std"), colour.size(), 1 / kLargestMean, kLargestMean);
    const auto rule = value.at("resampling").get<std::string>();
    if (rule != "pillow-antialias-horizontal-first" || (filter != "bilinear" && filter != "bicubic") ||
        (depth16 != "clip" && depth16 != "scale")) {
        refuse("bundle.json",
               "asks for preprocessing that this library does not know (" + rule + ", " + filter + ", " + depth16 + ")",
               "build a newer resnet_engine");
    }
    if (kept.height > resized.height || kept.width > resized.width) {
        refuse("bundle.json", "crops more than it resizes to", "export the bundle again");
    }
    if (manifest.resize.mode == RNE_SHORT && resized.height != resized.width) {
        refuse("bundle.json", "resizes the short side to two lengths", "export the bundle again");
    }
}

void read_tensors(const json &parsed, Manifest &manifest) {
    manifest.input_name = parsed.at("input").at("name");
    manifest.input_dtype = parsed.at("input").at("dtype");
    if (manifest.input_dtype != "uint8" && manifest.input_dtype != "float32") {
        refuse("bundle.json", "has an input of " + manifest.input_dtype, "export the bundle again");
    }
    const json &batch = parsed.at("input").at("shape").at(0);
    manifest.fixed_batch = batch.is_string() ? 0 : whole(batch, kMostBatch);
    for (const json &output : parsed.at("outputs")) {
        const auto name = output.at("name").get<std::string>();
        (name == "embedding" ? manifest.embedding_name : manifest.logits_name) = name;
    }
    // A network without a classifier has no logits.
    if (manifest.embedding_name.empty() || manifest.logits_name.empty() != (manifest.classes == 0)) {
        refuse("bundle.json", "has not the outputs of a network with " + std::to_string(manifest.classes) + " classes",
               "export the bundle again");
    }
}

double read_tolerance(const json &value) {
    if (!value.is_number()) {
        refuse("bundle.json", "has a tolerance of " + shown(value), "export the bundle again");
    }
    return value.get<double>();
}

// None where FP16 sums were not emulated, or overflow.
double read_fp16_tolerance(const json &precision, double tolerance) {
    const auto sums = precision.find("fp16_sums");
    if (sums == precision.end() || !sums->is_object() || sums->at("min_sqnr_db").is_null()) {
        return tolerance;
    }
    return std::min(tolerance, read_tolerance(sums->at("min_sqnr_db")));
}

Manifest read_manifest(const json &parsed) {
    Manifest manifest;
    const json &model = parsed.at("model");
    manifest.model = model.at("name");
    // 0 in a network without a classifier.
    const json &classes = model.at("classes");
    const bool none = classes.is_number_unsigned() && classes.get<std::uint64_t>() == 0;
    manifest.classes = none ? 0 : whole(classes, kMostFeatures);
    manifest.embedding_dim = whole(model.at("embedding_dim"), kMostFeatures);
    manifest.licence = parsed.at("licence").at("spdx");
    const json &precision = parsed.at("precision");
    manifest.precision = precision.at("name");
    manifest.min_sqnr_db = read_tolerance(precision.at("min_sqnr_db"));
    manifest.fp16_sums_sqnr_db = read_fp16_tolerance(precision, manifest.min_sqnr_db);
    const auto int8 = precision.find("int8");
    if (int8 != precision.end() && int8->is_object()) {
        manifest.int8_target = int8->at("target");
    }
    const json &golden = parsed.at("golden");
    if (!golden.is_array()) {
        refuse("bundle.json", "lists its golden images as " + shown(golden), "export the bundle again");
    }
    manifest.golden_images = golden.size();
    read_preprocessing(parsed.at("preprocessing"), manifest);
    read_tensors(parsed, manifest);
    for (const json &file : parsed.at("files")) {
        const auto sha256 = file.at("sha256").get<std::string>();
        if (file.at("path").get<std::string>() == "model.onnx") {
            manifest.model_sha256 = sha256;
        }
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

Sidecar parse_sidecar(const void *text, std::size_t bytes, const char *name) {
    const char *next = "build the plan again with `run-ssl build`";
    const json parsed = parse(text, bytes, name, next);
    try {
        Sidecar sidecar;
        sidecar.tensorrt = parsed.at("tensorrt");
        sidecar.gpu = parsed.at("gpu");
        sidecar.compute_capability = parsed.at("compute_capability");
        sidecar.platform = parsed.at("platform");
        sidecar.onnx_sha256 = parsed.at("onnx_sha256");
        sidecar.plan_sha256 = parsed.at("plan_sha256");
        sidecar.plan_bytes = whole(parsed.at("plan_bytes"), kMostBytes, name, next);
        const json &options = parsed.at("options");
        const json &profile = options.at("profile");
        sidecar.min_batch = whole(profile.at("min"), kMostBatch, name, next);
        sidecar.max_batch = whole(profile.at("max"), kMostBatch, name, next);
        sidecar.version_compatible = options.at("version_compatible");
        sidecar.hardware_compatibility = options.at("hardware_compatibility");
        sidecar.engine = options.value("engine", std::string(tensorrt_library.engine));
        sidecar.compute_capabilities = options.value("compute_capabilities", std::vector<std::string>());
        return sidecar;
    } catch (const json::exception &error) {
        refuse(name, std::string("does not describe a plan (") + error.what() + ")", next);
    }
}

} // namespace rne
