#include "tensorrt_plan.h"

#include <algorithm>
#include <utility>

#include "status.h"

namespace rne {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using Sizes = std::vector<std::size_t>;

// What the manifest says of a tensor.
struct Expected {
    std::string name;
    bool is_input;
    DataType type;
    Sizes shape; // without the batch
};

std::string type_name(DataType type) {
    switch (type) {
    case DataType::kFLOAT:
        return "float32";
    case DataType::kHALF:
        return "float16";
    case DataType::kINT8:
        return "int8";
    case DataType::kUINT8:
        return "uint8";
    default:
        return "type " + std::to_string(static_cast<int>(type));
    }
}

std::string describe(const Sizes &shape, DataType type) {
    std::string text = "(N";
    for (const std::size_t size : shape) {
        text += ", " + std::to_string(size);
    }
    return text + ") " + type_name(type);
}

std::vector<Expected> expected_tensors(const Manifest &manifest) {
    const std::size_t height = manifest.resize.image_height;
    const std::size_t width = manifest.resize.image_width;
    const bool pixels = manifest.input_dtype == "uint8";
    const Sizes image = pixels ? Sizes{height, width, manifest.channels()} : Sizes{manifest.channels(), height, width};
    std::vector<Expected> expected = {{manifest.input_name, true, pixels ? DataType::kUINT8 : DataType::kFLOAT, image}};
    if (manifest.classes != 0) {
        expected.push_back({manifest.logits_name, false, DataType::kFLOAT, {manifest.classes}});
    }
    expected.push_back({manifest.embedding_name, false, DataType::kFLOAT, {manifest.embedding_dim}});
    return expected;
}

// Refuse a plan with other tensors than the manifest's.
void check_names(const nvinfer1::ICudaEngine &engine, const std::vector<Expected> &expected,
                 const std::string &rebuild) {
    bool same = static_cast<std::size_t>(engine.getNbIOTensors()) == expected.size();
    std::string found, wanted;
    for (std::int32_t i = 0; i < engine.getNbIOTensors(); i++) {
        const std::string name = engine.getIOTensorName(i);
        const bool is_input = engine.getTensorIOMode(name.c_str()) == nvinfer1::TensorIOMode::kINPUT;
        same = same && std::any_of(expected.begin(), expected.end(),
                                   [&](const Expected &one) { return one.name == name && one.is_input == is_input; });
        found += (i == 0 ? "" : ", ") + name;
    }
    for (const Expected &one : expected) {
        wanted += (wanted.empty() ? "" : ", ") + one.name;
    }
    if (!same) {
        throw Error(RNE_BUNDLE, "the plan has tensors " + found + ", the bundle " + wanted + ": " + rebuild);
    }
}

// The sizes after the batch; dimensions that are not fixed are 0, which no manifest has.
Sizes sizes_of(const Dims &shape) {
    Sizes sizes;
    for (std::int32_t i = 1; i < shape.nbDims; i++) {
        sizes.push_back(shape.d[i] < 0 ? 0 : static_cast<std::size_t>(shape.d[i]));
    }
    return sizes;
}

PlanTensor read_tensor(const nvinfer1::ICudaEngine &engine, const Expected &expected, const std::string &rebuild) {
    const char *name = expected.name.c_str();
    const Dims shape = engine.getTensorShape(name);
    const DataType type = engine.getTensorDataType(name);
    const Sizes sizes = sizes_of(shape);
    if (type != expected.type || sizes != expected.shape) {
        throw Error(RNE_BUNDLE, "the plan's " + expected.name + " is " + describe(sizes, type) + ", the bundle's " +
                                    describe(expected.shape, expected.type) + ": " + rebuild);
    }
    PlanTensor tensor{expected.name, shape, type == DataType::kUINT8 ? sizeof(std::uint8_t) : sizeof(float)};
    for (const std::size_t size : sizes) {
        tensor.image_bytes *= size;
    }
    return tensor;
}

std::size_t profile_batch(const nvinfer1::ICudaEngine &engine, const PlanTensor &input,
                          nvinfer1::OptProfileSelector which) {
    // A batch that is fixed in the graph needs no profile.
    const Dims shape = input.shape.d[0] > 0 ? input.shape : engine.getProfileShape(input.name.c_str(), 0, which);
    return shape.nbDims < 1 || shape.d[0] < 1 ? 0 : static_cast<std::size_t>(shape.d[0]);
}

PlanTensors read_tensors(const nvinfer1::ICudaEngine &engine, const Manifest &manifest, const std::string &rebuild) {
    const std::vector<Expected> expected = expected_tensors(manifest);
    check_names(engine, expected, rebuild);
    PlanTensors tensors;
    tensors.input = read_tensor(engine, expected[0], rebuild);
    tensors.embedding = read_tensor(engine, expected.back(), rebuild);
    if (manifest.classes != 0) {
        tensors.logits = read_tensor(engine, expected[1], rebuild);
    }
    tensors.min_batch = profile_batch(engine, tensors.input, nvinfer1::OptProfileSelector::kMIN);
    tensors.max_batch = profile_batch(engine, tensors.input, nvinfer1::OptProfileSelector::kMAX);
    if (tensors.min_batch < 1 || tensors.max_batch < tensors.min_batch) {
        throw Error(RNE_BUNDLE, "the plan has no profile for the batch of " + tensors.input.name + ": " + rebuild);
    }
    return tensors;
}

} // namespace

TensorRtPlan::TensorRtPlan(const TensorRtLibrary &library, const Bundle &bundle, Log log)
    : log_(take_log(std::move(log))), runtime_(library.create_runtime(*log_)) {
    // Version-compatible plans hold host code; no other plan may run any.
    if (bundle.sidecar.version_compatible) {
        runtime_->setEngineHostCodeAllowed(true);
    }
    engine_.reset(runtime_->deserializeCudaEngine(bundle.plan.data(), bundle.plan.size()));
    const std::string rebuild = rebuild_command(bundle);
    if (!engine_) {
        throw Error(RNE_BACKEND, std::string(own_library.label) + " " + to_string(library.version()) +
                                     " cannot load the plan (" + take_errors() + "): " + rebuild);
    }
    tensors_ = read_tensors(*engine_, bundle.manifest, rebuild);
#ifdef RNE_WITH_TENSORRT_RTX
    config_.reset(engine_->createRuntimeConfig());
    if (!config_) {
        throw Error(RNE_BACKEND, std::string(own_library.label) + " made no runtime configuration (" + take_errors() +
                                     "): free GPU memory (`nvidia-smi` shows who holds it) and try again");
    }
    config_->setExecutionContextAllocationStrategy(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
    // A lane's CUDA graph keeps the kernels of the moment when it is recorded: they must be the best ones by then.
    config_->setDynamicShapesKernelSpecializationStrategy(nvinfer1::DynamicShapesKernelSpecializationStrategy::kEAGER);
#endif
}

std::size_t TensorRtPlan::scratch_bytes() const {
    return static_cast<std::size_t>(std::max<std::int64_t>(engine_->getDeviceMemorySizeV2(), 0));
}

std::unique_ptr<nvinfer1::IExecutionContext> TensorRtPlan::make_context(std::size_t batch) const {
#ifdef RNE_WITH_TENSORRT_RTX
    std::unique_ptr<nvinfer1::IExecutionContext> context(engine_->createExecutionContext(config_.get()));
#else
    std::unique_ptr<nvinfer1::IExecutionContext> context(
        engine_->createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
#endif
    if (!context) {
        throw Error(RNE_BACKEND, std::string(own_library.label) + " made no execution context (" + take_errors() +
                                     "): free GPU memory (`nvidia-smi` shows who holds it) and try again");
    }
    Dims shape = tensors_.input.shape;
    shape.d[0] = static_cast<std::int64_t>(batch);
    if (!context->setInputShape(tensors_.input.name.c_str(), shape)) {
        throw Error(RNE_BACKEND, "the plan takes no batch of " + std::to_string(batch) + " (" + take_errors() +
                                     "): its profile is " + std::to_string(tensors_.min_batch) + " to " +
                                     std::to_string(tensors_.max_batch) + "; build it with another --profile");
    }
    return context;
}

} // namespace rne
