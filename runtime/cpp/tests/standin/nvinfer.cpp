// libnvinfer over host memory; see standin.h. A plan is a header as TensorRT writes it, 28 bytes, and then text:
//
//     profile 1 4
//     scratch 1024
//     input pixels 5 -1 2 2 3        (name, data type, dimensions)
//     output logits 0 -1 10
#include <NvInferRuntime.h>
#include <algorithm>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "standin.h"

#ifndef STANDIN_LIBRARY_VERSION
#define STANDIN_LIBRARY_VERSION NV_TENSORRT_VERSION
#endif

using namespace nvinfer1;
using standin::Inside;
using standin::machine;

namespace {

struct Tensor {
    std::string name;
    DataType type = DataType::kFLOAT;
    TensorIOMode mode = TensorIOMode::kNONE;
    Dims shape{};

    std::size_t image_values() const {
        std::size_t values = 1;
        for (std::int32_t i = 1; i < shape.nbDims; i++) {
            values *= static_cast<std::size_t>(shape.d[i]);
        }
        return values;
    }
};

struct Network {
    std::vector<Tensor> tensors;
    std::int64_t min_batch = 1;
    std::int64_t max_batch = 1;
    std::int64_t scratch_bytes = 0;

    bool has(const std::string &name) const {
        return std::any_of(tensors.begin(), tensors.end(), [&](const Tensor &one) { return one.name == name; });
    }
    const Tensor &find(const std::string &name) const {
        return *std::find_if(tensors.begin(), tensors.end(), [&](const Tensor &one) { return one.name == name; });
    }
};

Network parse(const std::string &text) {
    Network network;
    std::istringstream lines(text);
    for (std::string line, word; std::getline(lines, line);) {
        std::istringstream words(line);
        words >> word;
        if (word == "profile") {
            words >> network.min_batch >> network.max_batch;
        } else if (word == "scratch") {
            words >> network.scratch_bytes;
        } else {
            Tensor tensor;
            int type = 0;
            words >> tensor.name >> type;
            tensor.type = static_cast<DataType>(type);
            tensor.mode = word == "input" ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
            while (words >> tensor.shape.d[tensor.shape.nbDims]) {
                tensor.shape.nbDims++;
            }
            network.tensors.push_back(tensor);
        }
    }
    return network;
}

// Whether the test wants this step to fail; TensorRT says why in its log.
bool fails(ILogger &logger, const char *step) {
    if (machine().trt_failure != step) {
        return false;
    }
    if (!machine().trt_message.empty()) {
        logger.log(ILogger::Severity::kERROR, machine().trt_message.c_str());
    }
    return true;
}

// Counts what is alive.
struct Alive {
    Alive() { machine().alive++; }
    ~Alive() { machine().alive--; }
    Alive(const Alive &) = delete;
    Alive &operator=(const Alive &) = delete;
};

// What one inference reads and writes.
struct Run {
    const void *input;
    bool bytes; // uint8 instead of float
    std::size_t batch, image, classes, embedding_dim;
    float *logits, *embedding, *scratch;

    float value(std::size_t i) const {
        return bytes ? static_cast<float>(static_cast<const std::uint8_t *>(input)[i])
                     : static_cast<const float *>(input)[i];
    }
};

// Two kernels, with their intermediate result in the scratch memory.
void sum_images(const Run &run) {
    for (std::size_t n = 0; n < run.batch; n++) {
        run.scratch[n] = 0;
        for (std::size_t i = 0; i < run.image; i++) {
            run.scratch[n] += run.value(n * run.image + i);
        }
    }
}

void write_outputs(const Run &run) {
    for (std::size_t n = 0; n < run.batch; n++) {
        for (std::size_t c = 0; c < run.classes; c++) {
            run.logits[n * run.classes + c] = run.scratch[n] + static_cast<float>(c);
        }
        for (std::size_t d = 0; d < run.embedding_dim; d++) {
            run.embedding[n * run.embedding_dim + d] = static_cast<float>(d) * run.value(n * run.image);
        }
    }
}

class Context final : public IExecutionContext {
public:
    Context(const Network &network, ILogger &logger) : network_(network), logger_(logger) {}

    void setDeviceMemoryV2(void *memory, std::int64_t size) noexcept override {
        scratch_ = size >= network_.scratch_bytes ? memory : nullptr;
    }
    bool setInputShape(char const *, Dims const &dims) noexcept override {
        if (fails(logger_, "shape") || dims.d[0] < network_.min_batch || dims.d[0] > network_.max_batch) {
            return false;
        }
        batch_ = static_cast<std::size_t>(dims.d[0]);
        ran_ = false;
        return true;
    }
    bool setTensorAddress(char const *name, void *data) noexcept override {
        if (fails(logger_, "address") || reinterpret_cast<std::uintptr_t>(data) % 256 != 0) {
            return false;
        }
        (std::strcmp(name, "logits") == 0 ? logits_ : embedding_) = static_cast<float *>(data);
        return true;
    }
    bool setInputTensorAddress(char const *, void const *data) noexcept override {
        input_ = data;
        return reinterpret_cast<std::uintptr_t>(data) % 256 == 0;
    }
    bool enqueueV3(cudaStream_t stream) noexcept override {
        const Inside inside("enqueueV3");
        // The first run after a change of shape allocates, which no capture allows.
        if (fails(logger_, "enqueue") || (standin::capturing(stream) && (!ran_ || fails(logger_, "capture")))) {
            return false;
        }
        if (scratch_ == nullptr) {
            logger_.log(ILogger::Severity::kERROR, "no scratch memory, or too little");
            return false;
        }
        ran_ = true;
        machine().scratch = scratch_;
        const Tensor &input = network_.tensors.front();
        const Run run{input_,
                      input.type == DataType::kUINT8,
                      batch_,
                      input.image_values(),
                      network_.has("logits") ? network_.find("logits").image_values() : 0,
                      network_.find("embedding").image_values(),
                      logits_,
                      embedding_,
                      static_cast<float *>(scratch_)};
        standin::enqueue(stream, [run, alive = std::weak_ptr<int>(token_)] {
            machine().ran_destroyed = machine().ran_destroyed || alive.expired();
            sum_images(run);
        });
        standin::enqueue(stream, [run] { write_outputs(run); });
        return true;
    }

private:
    const Network &network_;
    ILogger &logger_;
    Alive alive_;
    std::shared_ptr<int> token_ = std::make_shared<int>(0);
    std::size_t batch_ = 0;
    bool ran_ = false;
    void *scratch_ = nullptr;
    const void *input_ = nullptr;
    float *logits_ = nullptr;
    float *embedding_ = nullptr;
};

class Engine final : public ICudaEngine {
public:
    Engine(Network network, ILogger &logger) : network_(std::move(network)), logger_(logger) {}

    Dims getTensorShape(char const *name) const noexcept override { return network_.find(name).shape; }
    DataType getTensorDataType(char const *name) const noexcept override { return network_.find(name).type; }
    TensorIOMode getTensorIOMode(char const *name) const noexcept override { return network_.find(name).mode; }
    std::int32_t getNbIOTensors() const noexcept override { return static_cast<std::int32_t>(network_.tensors.size()); }
    char const *getIOTensorName(std::int32_t index) const noexcept override {
        return network_.tensors[static_cast<std::size_t>(index)].name.c_str();
    }
    Dims getProfileShape(char const *name, std::int32_t, OptProfileSelector which) const noexcept override {
        Dims shape = network_.find(name).shape;
        shape.d[0] = which == OptProfileSelector::kMIN ? network_.min_batch : network_.max_batch;
        return shape;
    }
    std::int64_t getDeviceMemorySizeV2() const noexcept override { return network_.scratch_bytes; }
    IExecutionContext *createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept override {
        const Inside inside("createExecutionContext");
        if (fails(logger_, "context") || strategy != ExecutionContextAllocationStrategy::kUSER_MANAGED) {
            return nullptr;
        }
        return new Context(network_, logger_);
    }

private:
    Network network_;
    ILogger &logger_;
    Alive alive_;
};

class Runtime final : public IRuntime {
public:
    explicit Runtime(ILogger &logger) : logger_(logger) {}

    ICudaEngine *deserializeCudaEngine(void const *blob, std::size_t size) noexcept override {
        const Inside inside("deserializeCudaEngine");
        logger_.log(ILogger::Severity::kINFO, "Loaded engine\n");
        if (fails(logger_, "deserialise")) {
            return nullptr;
        }
        return new Engine(parse(std::string(static_cast<const char *>(blob) + 28, size - 28)), logger_);
    }
    void setEngineHostCodeAllowed(bool allowed) noexcept override { machine().host_code_allowed = allowed; }

private:
    ILogger &logger_;
    Alive alive_;
};

} // namespace

extern "C" {

__attribute__((visibility("default"))) void *createInferRuntime_INTERNAL(void *logger, std::int32_t) noexcept {
    const Inside inside("createInferRuntime");
    ILogger &used = *static_cast<ILogger *>(logger);
    machine().logger = logger;
    return fails(used, "runtime") ? nullptr : new Runtime(used);
}

__attribute__((visibility("default"))) std::int32_t getInferLibVersion() noexcept { return STANDIN_LIBRARY_VERSION; }

} // extern "C"
