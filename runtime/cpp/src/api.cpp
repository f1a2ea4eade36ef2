// The C interface: checks arguments, turns exceptions into statuses, and owns what a handle needs.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "backend.h"
#include "bundle.h"
#include "preprocess.h"
#include "resnet_engine.h"
#include "self_check.h"
#include "status.h"

struct rne_preprocessor {
    rne::Preprocessor preprocessor;
};

struct rne_engine {
    rne::Bundle bundle;
    std::unique_ptr<rne::Backend> backend;
    rne::Preprocessor preprocessor;
    std::size_t max_batch;
    bool images_upright;
    // The network's input where it is not the pixels: normalised floats, (max_batch, channels, H, W).
    std::vector<float> normalised;
    // Where outputs go that the caller does not want.
    std::vector<float> unwanted_logits;
    std::vector<float> unwanted_embedding;
};

namespace {

using rne::Error;

thread_local std::string last_error; // NOLINT: a C interface has no other place for it

rne_status fail(rne_status status, const std::string &message) noexcept {
    try {
        last_error = message;
        // One line, whatever a file's name or a library's message has in it.
        const auto control = [](unsigned char character) { return character < 32 || character == 127; };
        std::replace_if(last_error.begin(), last_error.end(), control, ' ');
        // Unicode's other control characters, U+0080 to U+009F, are C2 80 to C2 9F in UTF-8.
        for (std::size_t i = 1; i < last_error.size(); ++i) {
            const auto first = static_cast<unsigned char>(last_error[i - 1]);
            const auto second = static_cast<unsigned char>(last_error[i]);
            if (first == 0xC2 && second >= 0x80 && second <= 0x9F) {
                last_error[i - 1] = last_error[i] = ' ';
            }
        }
    } catch (...) {
        last_error.clear();
    }
    return status;
}

// Run a function of the library's; whatever it throws becomes a status and a text.
template <typename Work> rne_status guarded(Work work) noexcept {
    try {
        work();
        return RNE_OK;
    } catch (const Error &error) {
        return fail(error.status(), error.what());
    } catch (const std::bad_alloc &) {
        return fail(RNE_OUT_OF_MEMORY, "out of memory: lower max_batch, or free some");
    } catch (const std::exception &error) {
        return fail(RNE_BACKEND, error.what());
    } catch (...) {
        return fail(RNE_BACKEND, "an unknown exception: report it");
    }
}

void require(bool condition, const char *message) {
    if (!condition) {
        throw Error(RNE_INVALID_ARGUMENT, message);
    }
}

// The caller's parameters, with defaults for fields that an older caller does not know.
rne_params read_params(const rne_params *given) {
    rne_params params = rne_default_params();
    if (given != nullptr) {
        // Every header's structure ends at a multiple of its alignment; elsewhere it would end inside a pointer.
        require(given->struct_bytes >= offsetof(rne_params, threads) && given->struct_bytes <= sizeof(rne_params) &&
                    given->struct_bytes % alignof(rne_params) == 0,
                "params were not made by rne_default_params(), or by a newer header's: call it first");
        std::memcpy(&params, given, given->struct_bytes);
    }
    require(params.max_batch >= 1, "max_batch is less than 1: pass the largest batch of one rne_infer() call");
    require(params.threads >= 0, "threads is negative: pass 0 for the back end's choice");
    return params;
}

rne::BackendOptions options_of(const rne_params &params) {
    rne::BackendOptions options;
    options.max_batch = std::size_t(params.max_batch);
    options.threads = params.threads;
    options.precision = params.precision == nullptr ? "f32" : params.precision;
    options.cuda_graph = params.cuda_graph != 0;
    options.tensorrt_library = params.tensorrt_library == nullptr ? "" : params.tensorrt_library;
    options.onnxruntime_library = params.onnxruntime_library == nullptr ? "" : params.onnxruntime_library;
    const auto log = params.log;
    void *const user = params.log_user;
    options.log = [log, user](rne_log_level level, const std::string &message) {
        if (log != nullptr) {
            log(level, message.c_str(), user);
        }
    };
    return options;
}

std::unique_ptr<rne::Backend> open_backend(const rne::Bundle &bundle, const rne_params &params) {
    const rne::BackendOptions options = options_of(params);
    // As a number: in C++ an enumeration of another value may not even be looked at.
    int backend = 0;
    std::memcpy(&backend, &params.backend, sizeof backend);
    if (backend == RNE_BACKEND_TENSORRT) {
        return rne::open_tensorrt(bundle, options);
    }
    if (backend == RNE_BACKEND_OPENVINO) {
        return rne::open_openvino(bundle, options);
    }
    if (backend == RNE_BACKEND_ONNXRUNTIME) {
        return rne::open_onnxruntime(bundle, options);
    }
    require(backend == RNE_BACKEND_AUTO, "backend is none of rne_backend's");
    std::string reason;
    if (rne::tensorrt_fits(bundle, options, reason)) {
        return rne::open_tensorrt(bundle, options);
    }
    if (!bundle.plan.empty() || bundle.has_other_plan) {
        options.log(RNE_LOG_WARNING, "the bundle's TensorRT plan is not used: " + reason);
    }
    return rne::open_on_cpu(bundle, options);
}

std::unique_ptr<rne_engine> make_engine(rne::Bundle bundle, const rne_params &params) {
    auto backend = open_backend(bundle, params);
    const rne::Manifest &manifest = bundle.manifest;
    const std::size_t most = std::size_t(params.max_batch);
    std::vector<float> normalised(manifest.input_dtype == "uint8" ? 0 : most * manifest.pixels_bytes());
    std::vector<float> logits(most * manifest.classes);
    std::vector<float> embedding(most * manifest.embedding_dim);
    rne::Preprocessor preprocessor(manifest.resize);
    // Model and plan are the back end's now.
    bundle.model = {};
    bundle.plan = {};
    return std::unique_ptr<rne_engine>(new rne_engine{std::move(bundle), std::move(backend), std::move(preprocessor),
                                                      most, params.images_upright != 0, std::move(normalised),
                                                      std::move(logits), std::move(embedding)});
}

// (p / 255 - mean) / std in float32, NCHW: runtime/images/preprocessing.py's `normalise`, the same operations in order.
void normalise(const rne::Manifest &manifest, const std::uint8_t *pixels, std::size_t batch, float *planes) {
    const std::size_t area = manifest.resize.image_height * manifest.resize.image_width;
    const std::size_t channels = manifest.channels();
    for (std::size_t image = 0; image < batch; image++) {
        for (std::size_t channel = 0; channel < channels; channel++) {
            const std::uint8_t *from = pixels + image * area * channels + channel;
            float *to = planes + (image * channels + channel) * area;
            for (std::size_t i = 0; i < area; i++) {
                float value = float(from[channels * i]);
                value /= 255.0F;
                value -= manifest.mean[channel];
                to[i] = value / manifest.std[channel];
            }
        }
    }
}

void infer(rne_engine &engine, const std::uint8_t *pixels, std::size_t batch, float *logits, float *embedding) {
    const void *input = pixels;
    if (!engine.normalised.empty()) {
        normalise(engine.bundle.manifest, pixels, batch, engine.normalised.data());
        input = engine.normalised.data();
    }
    engine.backend->infer(input, batch, logits != nullptr ? logits : engine.unwanted_logits.data(),
                          embedding != nullptr ? embedding : engine.unwanted_embedding.data());
}

} // namespace

extern "C" {

rne_params rne_default_params(void) {
    rne_params params{};
    params.struct_bytes = sizeof(rne_params);
    params.backend = RNE_BACKEND_AUTO;
    params.max_batch = 1;
    params.check_hashes = 1;
    params.precision = "f32";
    params.cuda_graph = 1;
    return params;
}

rne_status rne_open(const char *bundle, const rne_params *params, rne_engine **engine) {
    return guarded([&] {
        require(engine != nullptr, "engine is NULL: pass where the handle goes");
        *engine = nullptr;
        require(bundle != nullptr, "bundle is NULL: pass a bundle's directory");
        const rne_params read = read_params(params);
        *engine = make_engine(rne::read_bundle(bundle, read.check_hashes != 0), read).release();
    });
}

rne_status rne_open_buffers(const rne_buffers *buffers, const rne_params *params, rne_engine **engine) {
    return guarded([&] {
        require(engine != nullptr, "engine is NULL: pass where the handle goes");
        *engine = nullptr;
        require(buffers != nullptr, "buffers is NULL: pass the bundle's files");
        const rne_params read = read_params(params);
        *engine = make_engine(rne::read_buffers(*buffers, read.check_hashes != 0), read).release();
    });
}

void rne_close(rne_engine *engine) { delete engine; }

rne_info rne_get_info(const rne_engine *engine) {
    rne_info info{};
    if (engine != nullptr) {
        const rne::Manifest &manifest = engine->bundle.manifest;
        info.model = manifest.model.c_str();
        info.precision = manifest.precision.c_str();
        info.executes = engine->backend->executes().c_str();
        info.backend = engine->backend->name();
        info.licence = manifest.licence.c_str();
        info.classes = manifest.classes;
        info.embedding_dim = manifest.embedding_dim;
        info.image_height = manifest.resize.image_height;
        info.image_width = manifest.resize.image_width;
        info.pixels_bytes = manifest.pixels_bytes();
        info.max_batch = engine->max_batch;
        info.exif_rotate = manifest.exif_rotate ? 1 : 0;
        info.depth16_scale = manifest.depth16_scale ? 1 : 0;
        info.channels = manifest.channels();
    }
    return info;
}

const char *rne_label(const rne_engine *engine, size_t class_index) {
    const bool known = engine != nullptr && class_index < engine->bundle.labels.size();
    return known ? engine->bundle.labels[class_index].c_str() : "";
}

rne_status rne_preprocess(rne_engine *engine, const rne_image *image, uint8_t *pixels) {
    return guarded([&] {
        require(engine != nullptr && image != nullptr && pixels != nullptr, "engine, image or pixels is NULL");
        if (engine->bundle.manifest.exif_rotate && !engine->images_upright) {
            throw Error(RNE_UNSUPPORTED, "the bundle's images are turned by their EXIF orientation, which this library "
                                         "does not do: turn them before, and set params.images_upright");
        }
        engine->preprocessor.run(*image, pixels);
    });
}

rne_status rne_infer(rne_engine *engine, const uint8_t *pixels, size_t batch, float *logits, float *embedding) {
    return guarded([&] {
        require(engine != nullptr && pixels != nullptr, "engine or pixels is NULL");
        require(batch >= 1 && batch <= engine->max_batch,
                "the batch is not 1 to max_batch: open the engine with a larger max_batch, or pass fewer images");
        infer(*engine, pixels, batch, logits, embedding);
    });
}

rne_status rne_infer_on_stream(rne_engine *engine, const void *pixels, size_t batch, void *logits, void *embedding,
                               void *stream) {
    return guarded([&] {
        require(engine != nullptr && pixels != nullptr && embedding != nullptr &&
                    (logits != nullptr || engine->bundle.manifest.classes == 0),
                "engine, pixels, logits or embedding is NULL");
        require(batch >= 1 && batch <= engine->max_batch,
                "the batch is not 1 to max_batch: open the engine with a larger max_batch, or pass fewer images");
        engine->backend->infer_on_stream(pixels, batch, logits, embedding, stream);
    });
}

rne_status rne_self_check(rne_engine *engine, rne_check *check) {
    return guarded([&] {
        require(engine != nullptr, "engine is NULL");
        const rne::Manifest &manifest = engine->bundle.manifest;
        const auto run = [engine](const std::uint8_t *pixels, std::size_t batch, float *logits, float *embedding) {
            infer(*engine, pixels, batch, logits, embedding);
        };
        rne_check found = rne::check_golden(manifest, rne::read_golden(engine->bundle), engine->max_batch, run);
        found.required_db = rne::tolerance_db(manifest, engine->backend->executes(), engine->backend->runs_on_gpu());
        if (check != nullptr) {
            *check = found;
        }
        // Without a classifier the logits' decibels are infinite.
        const double worst = std::min(found.logits_db, found.embedding_db);
        if (worst < found.required_db) {
            throw Error(RNE_VERIFICATION, engine->bundle.path + " gives " + std::to_string(worst) +
                                              " dB on the golden images, " + std::to_string(found.required_db) +
                                              " are required: do not use this back end with this bundle, compare it "
                                              "with `run-ssl verify`");
        }
    });
}

const char *rne_last_error(void) { return last_error.c_str(); }

const char *rne_version(void) {
    static const std::string text = std::to_string(RNE_VERSION_MAJOR) + "." + std::to_string(RNE_VERSION_MINOR) + "." +
                                    std::to_string(RNE_VERSION_PATCH) + rne::built_backends();
    return text.c_str();
}

rne_status rne_preprocessor_open(const rne_resize *resize, rne_preprocessor **preprocessor) {
    return guarded([&] {
        require(preprocessor != nullptr, "preprocessor is NULL: pass where the handle goes");
        *preprocessor = nullptr;
        require(resize != nullptr, "resize is NULL: pass the sizes");
        *preprocessor = new rne_preprocessor{rne::Preprocessor(*resize)};
    });
}

rne_status rne_preprocessor_run(rne_preprocessor *preprocessor, const rne_image *image, uint8_t *pixels) {
    return guarded([&] {
        require(preprocessor != nullptr && image != nullptr && pixels != nullptr,
                "preprocessor, image or pixels is NULL");
        preprocessor->preprocessor.run(*image, pixels);
    });
}

void rne_preprocessor_close(rne_preprocessor *preprocessor) { delete preprocessor; }

} // extern "C"
