// The OpenVINO back end: the same settings as runtime/engines/openvino_engine.py, and tensors over the caller's memory.
#include <algorithm>
#include <map>
#include <openvino/openvino.hpp>

#include "backend.h"
#include "fixed_batch.h"
#include "openvino_floats.h"
#include "openvino_unsigned.h"
#include "status.h"

namespace rne {
namespace {

// OpenVINO's words for a precision to ours.
std::string our_word(const std::string &word) {
    static const std::map<std::string, std::string> words = {
        {"f32", "fp32"}, {"f16", "fp16"}, {"bf16", "bf16"}, {"i8", "int8"}, {"u8", "int8"}};
    const auto found = words.find(word);
    return found == words.end() ? word : found->second;
}

// The type that most convolutions of the compiled graph compute in: on some CPUs OpenVINO runs FP32 as bf16.
std::string executed(const ov::CompiledModel &compiled) {
    std::map<std::string, int> types;
    for (const auto &node : compiled.get_runtime_model()->get_ordered_ops()) {
        const auto &info = node->get_rt_info();
        const auto kind = info.find("layerType");
        const auto type = info.find("runtimePrecision");
        if (kind == info.end() || type == info.end()) {
            continue;
        }
        const auto name = kind->second.as<std::string>();
        if (name == "Convolution" || name == "FullyConnected" || name == "MatMul") {
            types[our_word(type->second.as<std::string>())]++;
        }
    }
    const auto most =
        std::max_element(types.begin(), types.end(), [](const auto &a, const auto &b) { return a.second < b.second; });
    return most == types.end() ? "unknown" : most->first;
}

ov::element::Type hint(const std::string &word) {
    if (word == "f32") {
        return ov::element::f32;
    }
    if (word == "bf16") {
        return ov::element::bf16;
    }
    if (word == "f16") {
        return ov::element::f16;
    }
    throw Error(RNE_INVALID_ARGUMENT, "precision \"" + word + "\": expected \"f32\", \"bf16\" or \"f16\"");
}

// A hash says that the graph is the one that the manifest lists, not the one that it describes: what it gives is laid
// over the caller's memory, (batch, width) float32.
void refuse_output(const std::string &name, const std::string &found, std::size_t width) {
    throw Error(RNE_BUNDLE, "model.onnx gives " + name + " as " + found + ", bundle.json says float32 (batch, " +
                                std::to_string(width) + "): export the bundle again");
}

void check_output(const ov::Output<const ov::Node> &output, const std::string &name, std::size_t width) {
    const auto &shape = output.get_partial_shape();
    const ov::PartialShape described{ov::Dimension::dynamic(), static_cast<ov::Dimension::value_type>(width)};
    if (output.get_element_type() != ov::element::f32 || !shape.compatible(described)) {
        refuse_output(name, output.get_element_type().get_type_name() + " " + shape.to_string(), width);
    }
}

class OpenVino final : public Backend {
public:
    OpenVino(const Bundle &bundle, const BackendOptions &options)
        : manifest_(bundle.manifest), fixed_batch_(bundle.manifest) {
        if (bundle.model.empty()) {
            throw Error(RNE_UNSUPPORTED, "OpenVINO runs model.onnx, which was not given: pass it");
        }
        ov::AnyMap config{{ov::hint::inference_precision.name(), hint(options.precision)},
                          {ov::hint::performance_mode.name(), ov::hint::PerformanceMode::LATENCY},
                          {ov::num_streams.name(), 1}};
        if (options.threads > 0) {
            config[ov::inference_num_threads.name()] = options.threads;
        }
        ov::Core core;
        const std::string text(bundle.model.begin(), bundle.model.end());
        // No weights beside it: everything is in the ONNX file.
        auto model = core.read_model(text, ov::Tensor());
        if (manifest_.precision.rfind("int8", 0) == 0) {
            int8_kernels_differ() ? compute_in_floats(model) : make_unsigned(model);
        }
        compiled_ = core.compile_model(model, "CPU", config);
        request_ = compiled_.create_infer_request();
        if (manifest_.classes != 0) {
            logits_ = compiled_.output(manifest_.logits_name);
            check_output(logits_, manifest_.logits_name, manifest_.classes);
        }
        embedding_ = compiled_.output(manifest_.embedding_name);
        check_output(embedding_, manifest_.embedding_name, manifest_.embedding_dim);
        executes_ = describe_precision(manifest_.precision, executed(compiled_));
    }

    const char *name() const override { return "openvino"; }
    const std::string &executes() const override { return executes_; }

    void infer(const void *input, std::size_t batch, float *logits, float *embedding) override {
        try {
            fixed_batch_.run_parts(input, batch, logits, embedding, [this](auto... part) { run(part...); });
        } catch (const ov::Exception &error) {
            throw Error(RNE_BACKEND, std::string("OpenVINO cannot run the batch: ") + error.what());
        }
    }

private:
    void run(const void *input, std::size_t batch, float *logits, float *embedding) {
        bind(input, batch, logits, embedding);
        request_.infer();
        if (manifest_.classes != 0) {
            check_written(logits_, manifest_.logits_name, manifest_.classes);
        }
        check_written(embedding_, manifest_.embedding_name, manifest_.embedding_dim);
    }

    // A size that the graph leaves open shows when it has run.
    void check_written(const ov::Output<const ov::Node> &output, const std::string &name, std::size_t width) {
        const auto shape = request_.get_tensor(output).get_shape();
        if (shape != ov::Shape{batch_, width}) {
            input_at_ = nullptr; // the next call binds the tensors anew
            refuse_output(name, "float32 " + ov::PartialShape(shape).to_string(), width);
        }
    }

    // The tensors lie over the caller's memory and are made anew only when it, or the batch, is another one.
    void bind(const void *input, std::size_t batch, float *logits, float *embedding) {
        if (input == input_at_ && batch == batch_ && logits == logits_at_ && embedding == embedding_at_) {
            return;
        }
        const std::size_t height = manifest_.resize.image_height;
        const std::size_t width = manifest_.resize.image_width;
        const std::size_t channels = manifest_.channels();
        void *const at = const_cast<void *>(input); // OpenVINO only reads it
        request_.set_input_tensor(manifest_.input_dtype == "uint8"
                                      ? ov::Tensor(ov::element::u8, {batch, height, width, channels}, at)
                                      : ov::Tensor(ov::element::f32, {batch, channels, height, width}, at));
        if (manifest_.classes != 0) {
            request_.set_tensor(logits_, ov::Tensor(ov::element::f32, {batch, manifest_.classes}, logits));
        }
        request_.set_tensor(embedding_, ov::Tensor(ov::element::f32, {batch, manifest_.embedding_dim}, embedding));
        input_at_ = input;
        batch_ = batch;
        logits_at_ = logits;
        embedding_at_ = embedding;
    }

    Manifest manifest_;
    FixedBatch fixed_batch_;
    ov::CompiledModel compiled_;
    ov::InferRequest request_;
    ov::Output<const ov::Node> logits_;
    ov::Output<const ov::Node> embedding_;
    std::string executes_;
    const void *input_at_ = nullptr;
    std::size_t batch_ = 0;
    float *logits_at_ = nullptr;
    float *embedding_at_ = nullptr;
};

} // namespace

std::unique_ptr<Backend> open_openvino(const Bundle &bundle, const BackendOptions &options) {
    try {
        return std::make_unique<OpenVino>(bundle, options);
    } catch (const ov::Exception &error) {
        std::string reason = error.what();
        std::replace(reason.begin(), reason.end(), '\n', ' ');
        throw Error(RNE_BACKEND, "OpenVINO cannot compile the bundle's model.onnx: " + reason);
    }
}

} // namespace rne
