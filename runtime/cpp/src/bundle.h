// A bundle in memory: its manifest, its model or plan, and its labels. The schema is runtime/bundle/manifest.py's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "plan_library.h"
#include "resnet_engine.h"

namespace rne {

// The part of bundle.json that running a network needs.
struct Manifest {
    std::string model;
    std::string precision; // "fp32", "fp16", "int8", "int8-fp16"
    std::string licence;   // SPDX identifier
    std::string input_name;
    std::string input_dtype; // "uint8" (NHWC pixels) or "float32" (NCHW, normalised)
    std::string logits_name; // "" without a classifier
    std::string embedding_name;
    std::string model_sha256; // of model.onnx
    std::string int8_target;  // "tensorrt", "cpu", or "" without INT8
    std::size_t classes = 0;  // 0 without a classifier
    std::size_t embedding_dim = 0;
    std::size_t golden_images = 0;
    std::size_t fixed_batch = 0; // images that every run of model.onnx takes, 0 for any number
    double min_sqnr_db = 0;
    double fp16_sums_sqnr_db = 0; // for engines that add up in FP16; min_sqnr_db where it was not emulated
    rne_resize resize{};
    bool exif_rotate = false;
    bool depth16_scale = false;
    std::vector<float> mean; // one for each channel
    std::vector<float> std;

    std::size_t channels() const { return mean.size(); }
    std::size_t pixels_bytes() const { return resize.image_height * resize.image_width * channels(); }
    // Bytes of one image at the network's input.
    std::size_t input_bytes() const { return input_dtype == "uint8" ? pixels_bytes() : pixels_bytes() * sizeof(float); }
};

// What stands beside a plan: model.plan.json or model.rtx.plan.json, runtime/bundle/plan_json.py.
struct Sidecar {
    std::string engine = own_library.engine; // whose plan: "tensorrt" or "tensorrt-rtx"
    std::string tensorrt;                    // version that built the plan, "10.16.1.11"
    std::string gpu;
    std::string compute_capability; // "8.0"
    std::string platform;           // "linux-x86_64"
    std::string onnx_sha256;
    std::string plan_sha256;
    std::size_t plan_bytes = 0;
    std::size_t min_batch = 1;
    std::size_t max_batch = 1;
    bool version_compatible = false;
    std::string hardware_compatibility; // "none", "ampere+", "same-compute-capability"
    // That a plan of TensorRT for RTX names, "8.6"; none for its own choice.
    std::vector<std::string> compute_capabilities;
};

// Golden inputs with the PyTorch original's outputs.
struct Golden {
    std::size_t images = 0;
    std::vector<std::uint8_t> pixels; // (images, H, W, channels)
    std::vector<float> logits;        // (images, classes); empty without a classifier
    std::vector<float> embedding;     // (images, embedding_dim)
};

struct Bundle {
    std::string path; // "" for one that lies in memory
    Manifest manifest;
    std::vector<std::uint8_t> model;           // model.onnx; empty where only a plan was given
    std::vector<std::uint8_t> plan;            // empty where there is none
    const PlanLibrary *library = &own_library; // that loads the plan
    bool has_other_plan = false;               // one that only the other library loads
    Sidecar sidecar;                           // of the plan
    bool has_sidecar = false;
    std::vector<std::string> labels;
};

// Parse texts. All throw Error with RNE_BUNDLE.
Manifest parse_manifest(const void *text, std::size_t bytes);
Sidecar parse_sidecar(const void *text, std::size_t bytes, const char *name = own_library.sidecar);

// Read a directory, with the plan of a library. With check_hashes every file that the manifest lists is compared with
// its sha256.
Bundle read_bundle(const std::string &path, bool check_hashes, const PlanLibrary &library = own_library);
Bundle read_buffers(const rne_buffers &buffers, bool check_hashes);
Golden read_golden(const Bundle &bundle);

} // namespace rne
