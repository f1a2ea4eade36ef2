// The TensorRT back end: a plan that this machine built, run with pinned buffers and CUDA graphs.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "backend.h"
#include "cuda_check.h"
#include "plan_check.h"
#include "status.h"
#include "tensorrt_lane.h"
#include "tensorrt_library.h"
#include "tensorrt_plan.h"

namespace rne {
namespace {

constexpr char check_driver[] = ": check `nvidia-smi` and CUDA_VISIBLE_DEVICES";

// The GPU that is current in this thread, CUDA's first unless the program chose another.
//
// TensorRT must not be asked before this: without a driver it returns an invalid pointer and then crashes.
int find_device() {
    int driver = 0, count = 0, device = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        cudaGetLastError();
        throw Error(RNE_DEVICE, "there is no NVIDIA driver: install it, or use a machine with an NVIDIA GPU");
    }
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code == cudaSuccess) {
        code = cudaGetDevice(&device);
    }
    if (code != cudaSuccess) {
        cudaGetLastError();
        throw Error(RNE_DEVICE, "CUDA finds no GPU (" + cuda_text(code) + ")" + check_driver);
    }
    if (count < 1) {
        throw Error(RNE_DEVICE, std::string("CUDA finds no GPU") + check_driver);
    }
    return device;
}

PlanMachine find_machine(int device, const TensorRtLibrary &library) {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, device));
    return {library.version(), properties.name,
            std::to_string(properties.major) + "." + std::to_string(properties.minor), current_platform()};
}

// A device and a library that can run a bundle's plan.
struct Checked {
    int device;
    TensorRtLibrary library;
};

Checked check_all(const Bundle &bundle, const BackendOptions &options) {
    require_plan(bundle);
    const int device = find_device();
    Checked checked{device, TensorRtLibrary(options.tensorrt_library)};
    check_plan(bundle, find_machine(device, checked.library));
    return checked;
}

std::string short_version(const TensorRtVersion &version) {
    return std::to_string(version.major) + "." + std::to_string(version.minor) + "." + std::to_string(version.patch);
}

void check_alignment(const char *name, const void *address) {
    if (reinterpret_cast<std::uintptr_t>(address) % TensorRtLane::alignment_bytes != 0) {
        throw Error(RNE_INVALID_ARGUMENT, std::string("the address of ") + name +
                                              " is no multiple of 256, as TensorRT wants it: pass one that cudaMalloc "
                                              "returned, or a batch's own memory");
    }
}

void check_not_capturing(cudaStream_t stream) {
    cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
    check_cuda(cudaStreamIsCapturing(stream, &capturing));
    if (capturing != cudaStreamCaptureStatusNone) {
        throw Error(RNE_UNSUPPORTED, "the stream is being captured into a CUDA graph, which would keep this engine's "
                                     "memory in it: end the capture first");
    }
}

class TensorRtBackend final : public Backend {
public:
    TensorRtBackend(const Checked &checked, const Bundle &bundle, const BackendOptions &options)
        : device_(checked.device), plan_(std::make_unique<TensorRtPlan>(checked.library, bundle, options.log)),
          executes_(bundle.manifest.precision + " (TensorRT " + short_version(checked.library.version()) + ")"),
          lane_(std::make_unique<TensorRtLane>(*plan_, options.max_batch, options.cuda_graph)) {}
    ~TensorRtBackend() override { close(); }

    const char *name() const override { return "tensorrt"; }
    bool runs_on_gpu() const override { return true; }
    const std::string &executes() const override { return executes_; }

    void infer(const void *input, std::size_t batch, float *logits, float *embedding) override {
        const DeviceGuard guard(device_);
        split(input, batch, logits, embedding, [this](const void *from, std::size_t size, void *first, void *second) {
            lane_->run(from, size, first, second);
        });
    }

    void infer_on_stream(const void *input, std::size_t batch, void *logits, void *embedding, void *stream) override {
        check_alignment("pixels", input);
        check_alignment("logits", logits);
        check_alignment("embedding", embedding);
        const DeviceGuard guard(device_);
        auto *handle = static_cast<cudaStream_t>(stream);
        check_not_capturing(handle);
        split(input, batch, logits, embedding,
              [this, handle](const void *from, std::size_t size, void *first, void *second) {
                  lane_->run_on_stream(from, size, first, second, handle);
              });
    }

private:
    // Call `run` for parts of a batch that the lane can take.
    template <typename Run>
    void split(const void *input, std::size_t batch, void *logits, void *embedding, const Run &run) {
        const PlanTensors &tensors = plan_->tensors();
        const auto *from = static_cast<const std::uint8_t *>(input);
        auto *first = static_cast<std::uint8_t *>(logits);
        auto *second = static_cast<std::uint8_t *>(embedding);
        for (std::size_t start = 0; start < batch; start += lane_->max_batch()) {
            run(from + start * tensors.input.image_bytes, std::min(lane_->max_batch(), batch - start),
                first + start * tensors.logits.image_bytes, second + start * tensors.embedding.image_bytes);
        }
    }

    // What is on the GPU is freed with that GPU as the current one.
    void close() noexcept {
        try {
            const DeviceGuard guard(device_);
            free();
        } catch (const Error &) {
            free();
        }
    }
    void free() noexcept {
        lane_.reset();
        plan_.reset();
    }

    int device_;
    std::unique_ptr<TensorRtPlan> plan_;
    std::string executes_;
    std::unique_ptr<TensorRtLane> lane_;
};

} // namespace

std::unique_ptr<Backend> open_tensorrt(const Bundle &bundle, const BackendOptions &options) {
    const Checked checked = check_all(bundle, options);
    return std::make_unique<TensorRtBackend>(checked, bundle, options);
}

bool tensorrt_fits(const Bundle &bundle, const BackendOptions &options, std::string &reason) {
    try {
        check_all(bundle, options);
    } catch (const Error &error) {
        reason = error.what();
        return false;
    }
    reason.clear();
    return true;
}

} // namespace rne
