// The onnxruntime back end: the CPU provider with the settings of runtime/engines/ort_session.py, and tensors over the
// caller's memory.
#include <array>

#include "backend.h"
#include "cpu.h"
#include "fixed_batch.h"
#include "onnxruntime_library.h"
#include "onnxruntime_profile.h"
#include "status.h"

namespace rne {
namespace {

// As ort_session.py's `fusion_on_cpu`: around FP16 scales, and where sums are clipped, the fused integer kernels are
// another function. Q/DQ are then computed as ONNX defines them: round to the integers, and back to floats.
bool keeps_qdq(const Manifest &manifest) {
    return manifest.precision == "int8-fp16" || (manifest.precision == "int8" && int8_sums_saturate());
}

void check_precision(const std::string &word) {
    if (word != "f32" && word != "f16") {
        throw Error(RNE_INVALID_ARGUMENT, "precision \"" + word + "\": onnxruntime expects \"f32\" or \"f16\"");
    }
}

class OnnxRuntime final : public Backend {
public:
    OnnxRuntime(const Bundle &bundle, const BackendOptions &options)
        : library_(options.onnxruntime_library), manifest_(bundle.manifest), fixed_batch_(bundle.manifest) {
        const ProfileFolder folder;
        open_session(bundle, options, folder);
        const std::string computed = profile_one();
        executes_ = describe_precision(manifest_.precision, computed);
        if (computed == "fp16" && options.precision == "f32") {
            throw Error(RNE_UNSUPPORTED,
                        "onnxruntime adds up an FP16 graph in FP16 on this processor, and FP32 was asked for: set "
                        "params.precision to \"f16\" where that is good enough, which rne_self_check() says; take "
                        "OpenVINO, or export an FP32 bundle");
        }
    }

    const char *name() const override { return "onnxruntime"; }
    const std::string &executes() const override { return executes_; }

    void infer(const void *input, std::size_t batch, float *logits, float *embedding) override {
        fixed_batch_.run_parts(input, batch, logits, embedding, [this](auto... part) { run(part...); });
    }

private:
    void open_session(const Bundle &bundle, const BackendOptions &options, const ProfileFolder &folder) {
        const char *what = "open the bundle's model.onnx";
        OrtEnv *env = nullptr;
        // What fails is told by a status; whatever else onnxruntime would print is not for the caller's terminal.
        library_.check(library_->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "resnet_engine", &env), "start");
        env_.reset(env);
        // Builds of 1.29 and later send what they run to Microsoft unless told not to.
        library_.check(library_->DisableTelemetryEvents(env), "turn its telemetry off");
        OrtSessionOptions *made = nullptr;
        library_.check(library_->CreateSessionOptions(&made), what);
        const Owned<OrtSessionOptions> settings(made, library_->ReleaseSessionOptions);
        if (options.threads > 0) {
            library_.check(library_->SetIntraOpNumThreads(made, options.threads), what);
        }
        if (keeps_qdq(manifest_)) {
            library_.check(library_->AddSessionConfigEntry(made, "session.disable_quant_qdq", "1"), what);
        }
        library_.check(library_->EnableProfiling(made, folder.prefix().c_str()), what);
        OrtSession *session = nullptr;
        library_.check(library_->CreateSessionFromArray(env, bundle.model.data(), bundle.model.size(), made, &session),
                       what);
        session_.reset(session);
        OrtMemoryInfo *memory = nullptr;
        library_.check(library_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory), what);
        memory_.reset(memory);
    }

    // Runs zeros, and ends the session's profile; returns what the convolutions computed in.
    std::string profile_one() {
        const std::size_t batch = manifest_.fixed_batch == 0 ? 1 : manifest_.fixed_batch;
        const std::vector<std::uint8_t> input(batch * manifest_.input_bytes());
        std::vector<float> logits(batch * manifest_.classes);
        std::vector<float> embedding(batch * manifest_.embedding_dim);
        run(input.data(), batch, logits.data(), embedding.data());
        // Their addresses may be the caller's next time.
        input_at_ = nullptr;
        OrtAllocator *allocator = nullptr;
        library_.check(library_->GetAllocatorWithDefaultOptions(&allocator), "end its profile");
        char *path = nullptr;
        library_.check(library_->SessionEndProfiling(session_.get(), allocator, &path), "end its profile");
        const std::string written = path;
        library_.check(library_->AllocatorFree(allocator, path), "end its profile");
        return profiled_precision(written);
    }

    void run(const void *input, std::size_t batch, float *logits, float *embedding) {
        bind(input, batch, logits, embedding);
        const char *input_name = manifest_.input_name.c_str();
        const OrtValue *inputs = input_.get();
        // The logits last: without a classifier there are none.
        const std::array<const char *, 2> names = {manifest_.embedding_name.c_str(), manifest_.logits_name.c_str()};
        std::array<OrtValue *, 2> outputs = {embedding_.get(), logits_.get()};
        library_.check(library_->Run(session_.get(), nullptr, &input_name, &inputs, 1, names.data(),
                                     manifest_.classes == 0 ? 1 : 2, outputs.data()),
                       "run the batch");
    }

    // The tensors lie over the caller's memory and are made anew only when it, or the batch, is another one.
    void bind(const void *input, std::size_t batch, float *logits, float *embedding) {
        if (input == input_at_ && batch == batch_ && logits == logits_at_ && embedding == embedding_at_) {
            return;
        }
        input_at_ = nullptr;
        const auto count = std::int64_t(batch);
        const auto height = std::int64_t(manifest_.resize.image_height);
        const auto width = std::int64_t(manifest_.resize.image_width);
        const auto channels = std::int64_t(manifest_.channels());
        void *const at = const_cast<void *>(input); // onnxruntime only reads it
        const bool bytes = manifest_.input_dtype == "uint8";
        const auto shape = bytes ? std::array<std::int64_t, 4>{count, height, width, channels}
                                 : std::array<std::int64_t, 4>{count, channels, height, width};
        put(input_, at, batch * manifest_.input_bytes(), shape,
            bytes ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
        if (manifest_.classes != 0) {
            put_floats(logits_, logits, batch, manifest_.classes);
        }
        put_floats(embedding_, embedding, batch, manifest_.embedding_dim);
        input_at_ = input;
        batch_ = batch;
        logits_at_ = logits;
        embedding_at_ = embedding;
    }

    void put_floats(Owned<OrtValue> &value, float *at, std::size_t batch, std::size_t features) {
        put(value, at, batch * features * sizeof(float),
            std::array<std::int64_t, 2>{std::int64_t(batch), std::int64_t(features)},
            ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
    }

    template <std::size_t kRank>
    void put(Owned<OrtValue> &value, void *at, std::size_t bytes, const std::array<std::int64_t, kRank> &shape,
             ONNXTensorElementDataType type) {
        OrtValue *made = nullptr;
        library_.check(
            library_->CreateTensorWithDataAsOrtValue(memory_.get(), at, bytes, shape.data(), kRank, type, &made),
            "take the batch");
        value.reset(made);
    }

    OnnxRuntimeLibrary library_;
    Manifest manifest_;
    FixedBatch fixed_batch_;
    // Freed in the reverse order: the environment last.
    Owned<OrtEnv> env_{nullptr, library_->ReleaseEnv};
    Owned<OrtMemoryInfo> memory_{nullptr, library_->ReleaseMemoryInfo};
    Owned<OrtSession> session_{nullptr, library_->ReleaseSession};
    Owned<OrtValue> input_{nullptr, library_->ReleaseValue};
    Owned<OrtValue> logits_{nullptr, library_->ReleaseValue};
    Owned<OrtValue> embedding_{nullptr, library_->ReleaseValue};
    std::string executes_;
    const void *input_at_ = nullptr;
    std::size_t batch_ = 0;
    float *logits_at_ = nullptr;
    float *embedding_at_ = nullptr;
};

} // namespace

std::unique_ptr<Backend> open_onnxruntime(const Bundle &bundle, const BackendOptions &options) {
    check_precision(options.precision);
    if (bundle.model.empty()) {
        throw Error(RNE_UNSUPPORTED, "onnxruntime runs model.onnx, which was not given: pass it");
    }
    return std::make_unique<OnnxRuntime>(bundle, options);
}

} // namespace rne
