// What runs a network: one implementation per library, chosen when a bundle is opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"
#include "resnet_engine.h"

namespace rne {

using Log = std::function<void(rne_log_level, const std::string &)>;

// Everything that a back end may be told; see rne_params.
struct BackendOptions {
    std::size_t max_batch = 1;
    int threads = 0;
    std::string precision = "f32";
    bool cuda_graph = true;
    std::string tensorrt_library;
    std::string onnxruntime_library;
    Log log;
};

class Backend {
public:
    virtual ~Backend() = default;
    Backend(const Backend &) = delete;
    Backend &operator=(const Backend &) = delete;

    // "openvino", "onnxruntime" or "tensorrt".
    virtual const char *name() const = 0;
    // What it computes in, asked of the library, not assumed from the file.
    virtual const std::string &executes() const = 0;

    virtual bool runs_on_gpu() const { return false; }

    // Host memory in and out; waits. input: (batch, ...) as the manifest's input has it; outputs never
    // null, but for logits without a classifier.
    virtual void infer(const void *input, std::size_t batch, float *logits, float *embedding) = 0;

    // GPU memory in and out, on the caller's stream. Throws RNE_UNSUPPORTED where there is no such thing.
    virtual void infer_on_stream(const void *input, std::size_t batch, void *logits, void *embedding, void *stream);

protected:
    Backend() = default;
};

// Declared for every back end; those that were not built in throw RNE_UNSUPPORTED.
std::unique_ptr<Backend> open_openvino(const Bundle &bundle, const BackendOptions &options);
std::unique_ptr<Backend> open_onnxruntime(const Bundle &bundle, const BackendOptions &options);
std::unique_ptr<Backend> open_tensorrt(const Bundle &bundle, const BackendOptions &options);

// OpenVINO where it was built in, else onnxruntime.
std::unique_ptr<Backend> open_on_cpu(const Bundle &bundle, const BackendOptions &options);

// Whether TensorRT is built in and the bundle has a plan that passes every check here; `reason` says why not.
bool tensorrt_fits(const Bundle &bundle, const BackendOptions &options, std::string &reason);

// "fp16", or "fp16 weights, fp32 execution": runtime/engines/contract.py's describe_precision().
std::string describe_precision(const std::string &stored, const std::string &executed);

// "openvino tensorrt-11": those that were built in.
std::string built_backends();

} // namespace rne
