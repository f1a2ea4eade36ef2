// Reading a bundle's files; what is in them is checked in manifest.cpp and npy.cpp.
#include "bundle.h"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "external_data.h"
#include "npy.h"
#include "sha256.h"
#include "status.h"

namespace rne {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

struct Closer {
    // Read only: nothing can be lost by closing.
    void operator()(std::FILE *file) const { (void)std::fclose(file); }
};

Bytes read_file(const fs::path &path) {
    std::error_code error;
    const auto size = fs::file_size(path, error);
    const std::unique_ptr<std::FILE, Closer> file(error ? nullptr : std::fopen(path.string().c_str(), "rb"));
    if (!file) {
        throw Error(RNE_BUNDLE, path.string() + " cannot be read: expected a bundle that export-ssl wrote");
    }
    Bytes bytes(static_cast<std::size_t>(size));
    if (std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) {
        throw Error(RNE_BUNDLE, path.string() + " ended early: copy the bundle again as a whole");
    }
    return bytes;
}

bool is_file(const fs::path &path) {
    std::error_code error;
    return fs::is_regular_file(path, error);
}

// A manifest may come from a stranger: no name in it may lead out of the bundle, nor may a link.
fs::path inside(const fs::path &bundle, const std::string &name) {
    std::error_code error;
    const fs::path root = fs::weakly_canonical(bundle, error);
    fs::path file = fs::weakly_canonical(bundle / name, error);
    const auto [end, nothing] = std::mismatch(root.begin(), root.end(), file.begin(), file.end());
    if (name.empty() || end != root.end()) {
        throw Error(RNE_BUNDLE, (bundle / name).string() + " leads out of the bundle: expected a plain file");
    }
    return file;
}

void check_sha256(const std::string &name, const Bytes &bytes, const std::string &expected) {
    const std::string found = sha256_hex(bytes.data(), bytes.size());
    if (found != expected) {
        throw Error(RNE_BUNDLE, name + " has sha256 " + found.substr(0, 12) + "…, the manifest says " +
                                    expected.substr(0, 12) +
                                    "…: it was changed after the export; copy or export the bundle again");
    }
}

// Every file that the manifest lists.
void check_files(const fs::path &bundle, const Bytes &manifest) {
    const auto parsed = nlohmann::json::parse(manifest, nullptr, false);
    for (const auto &file : parsed.value("files", nlohmann::json::array())) {
        const auto name = file.value("path", std::string());
        const Bytes bytes = read_file(inside(bundle, name));
        check_sha256((bundle / name).string(), bytes, file.value("sha256", std::string()));
    }
}

std::vector<std::string> split_lines(const char *text, std::size_t bytes) {
    std::vector<std::string> lines;
    std::string line;
    for (std::size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n') {
            lines.push_back(line);
            line.clear();
        } else if (text[i] != '\r') {
            line += text[i];
        }
    }
    if (!line.empty()) {
        lines.push_back(line);
    }
    return lines;
}

void check_model_hash(const Bundle &bundle, const std::string &name) {
    if (bundle.manifest.model_sha256.empty()) {
        throw Error(RNE_BUNDLE, "the manifest does not list model.onnx: export the bundle again");
    }
    check_sha256(name, bundle.model, bundle.manifest.model_sha256);
}

void check_own_weights(const std::string &name, const Bytes &model) {
    if (has_external_data(model)) {
        throw Error(RNE_BUNDLE, name + " has weights in other files, for which no hash is checked: expected all of "
                                       "them in model.onnx; export the bundle again");
    }
}

Bytes copy(const void *data, std::size_t bytes) {
    const auto *at = static_cast<const std::uint8_t *>(data);
    return data == nullptr ? Bytes{} : Bytes(at, at + bytes);
}

std::vector<float> floats(const Bytes &bytes) {
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
    return values;
}

} // namespace

Bundle read_bundle(const std::string &path, bool check_hashes, const PlanLibrary &library) {
    const fs::path folder(path);
    std::error_code error;
    if (!fs::is_directory(folder, error)) {
        throw Error(RNE_BUNDLE, path + " is not a directory: expected a bundle made by export-ssl");
    }
    Bundle bundle;
    bundle.path = path;
    const Bytes manifest = read_file(inside(folder, "bundle.json"));
    bundle.manifest = parse_manifest(manifest.data(), manifest.size());
    bundle.model = read_file(inside(folder, "model.onnx"));
    if (check_hashes) {
        check_files(folder, manifest);
    }
    check_own_weights((folder / "model.onnx").string(), bundle.model);
    if (is_file(folder / "labels.txt")) {
        const Bytes labels = read_file(inside(folder, "labels.txt"));
        bundle.labels = split_lines(reinterpret_cast<const char *>(labels.data()), labels.size());
    }
    bundle.library = &library;
    bundle.has_other_plan = is_file(folder / other_library(library).plan);
    if (is_file(folder / library.plan)) {
        bundle.plan = read_file(inside(folder, library.plan));
    }
    if (is_file(folder / library.sidecar)) {
        const Bytes sidecar = read_file(inside(folder, library.sidecar));
        bundle.sidecar = parse_sidecar(sidecar.data(), sidecar.size(), library.sidecar);
        bundle.has_sidecar = true;
    }
    return bundle;
}

Bundle read_buffers(const rne_buffers &buffers, bool check_hashes) {
    if (buffers.manifest == nullptr || (buffers.model == nullptr && buffers.plan == nullptr)) {
        throw Error(RNE_INVALID_ARGUMENT, "no manifest, or neither model nor plan: pass bundle.json and one of them");
    }
    Bundle bundle;
    bundle.manifest = parse_manifest(buffers.manifest, buffers.manifest_bytes);
    bundle.model = copy(buffers.model, buffers.model_bytes);
    bundle.plan = copy(buffers.plan, buffers.plan_bytes);
    if (check_hashes && buffers.model != nullptr) {
        check_model_hash(bundle, "the model");
    }
    check_own_weights("the model", bundle.model);
    if (buffers.sidecar != nullptr) {
        bundle.sidecar = parse_sidecar(buffers.sidecar, buffers.sidecar_bytes);
        bundle.has_sidecar = true;
    }
    if (buffers.labels != nullptr) {
        bundle.labels = split_lines(static_cast<const char *>(buffers.labels), buffers.labels_bytes);
    }
    return bundle;
}

Golden read_golden(const Bundle &bundle) {
    if (bundle.path.empty()) {
        throw Error(RNE_UNSUPPORTED, "a bundle in memory has no golden vectors: open its directory");
    }
    const Manifest &manifest = bundle.manifest;
    if (manifest.golden_images == 0) {
        throw Error(RNE_BUNDLE, bundle.path + " lists no golden images, so nothing can be checked: export it again");
    }
    Golden golden;
    golden.images = manifest.golden_images;
    const auto read = [&](const char *name, const char *type, const std::vector<std::size_t> &shape) {
        const fs::path file = inside(bundle.path, std::string("golden/") + name);
        return read_npy(read_file(file), type, shape, file.string());
    };
    golden.pixels =
        read("pixels.npy", "|u1",
             {golden.images, manifest.resize.image_height, manifest.resize.image_width, manifest.channels()});
    if (manifest.classes != 0) {
        golden.logits = floats(read("logits.npy", "<f4", {golden.images, manifest.classes}));
    }
    golden.embedding = floats(read("embedding.npy", "<f4", {golden.images, manifest.embedding_dim}));
    return golden;
}

} // namespace rne
