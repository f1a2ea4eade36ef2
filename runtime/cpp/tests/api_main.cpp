// The C interface without a back end, for a build with sanitizers: every refusal, the preprocessing over image sizes,
// and handles in several threads. Prints what failed; exit 1 then.
//
//   api_main BUNDLE
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <resnet_engine.h>

#include "bundle.h"
#include "npy.h"
#include "self_check.h"
#include "status.h"

namespace {

std::atomic<int> failures{0};

void expect(bool condition, const char *what) {
    if (!condition) {
        std::fprintf(stderr, "not so: %s (last error: %s)\n", what, rne_last_error());
        failures++;
    }
}

std::vector<char> read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

rne_status open_buffers(const std::vector<char> &manifest, const rne_params &params) {
    rne_buffers buffers{};
    buffers.manifest = manifest.data();
    buffers.manifest_bytes = manifest.size();
    buffers.model = "x";
    buffers.model_bytes = 1;
    rne_engine *engine = nullptr;
    const rne_status status = rne_open_buffers(&buffers, &params, &engine);
    expect(status != RNE_OK && engine == nullptr, "nothing opens without a back end");
    expect(std::strlen(rne_last_error()) > 0 && std::strchr(rne_last_error(), '\n') == nullptr, "one line is told");
    return status;
}

void check_arguments() {
    rne_engine *engine = nullptr;
    expect(rne_open(nullptr, nullptr, &engine) == RNE_INVALID_ARGUMENT, "no path is refused");
    expect(rne_open("x", nullptr, nullptr) == RNE_INVALID_ARGUMENT, "no place for the handle is refused");
    expect(rne_open_buffers(nullptr, nullptr, &engine) == RNE_INVALID_ARGUMENT, "no buffers are refused");
    expect(rne_infer(nullptr, nullptr, 1, nullptr, nullptr) == RNE_INVALID_ARGUMENT, "no engine is refused");
    expect(rne_self_check(nullptr, nullptr) == RNE_INVALID_ARGUMENT, "no engine is refused by the check");
    expect(rne_get_info(nullptr).classes == 0, "no engine has no classes");
    expect(*rne_label(nullptr, 0) == '\0', "no engine has no labels");
    rne_close(nullptr);
    rne_preprocessor_close(nullptr);
    rne_params params = rne_default_params();
    for (params.struct_bytes = 0; params.struct_bytes < 2 * sizeof params; params.struct_bytes++) {
        const bool whole = params.struct_bytes >= 16 && params.struct_bytes <= sizeof params;
        const rne_status status = rne_open("/absent", &params, &engine);
        expect(status == (whole && params.struct_bytes % 8 == 0 ? RNE_BUNDLE : RNE_INVALID_ARGUMENT),
               "only whole parameters are read");
    }
}

// Numbers that are none of the enumerations', as a C caller may give them.
void check_enumerations(const std::string &bundle) {
    rne_params params = rne_default_params();
    const int backend = 9;
    std::memcpy(&params.backend, &backend, sizeof backend);
    rne_engine *engine = nullptr;
    expect(rne_open(bundle.c_str(), &params, &engine) == RNE_INVALID_ARGUMENT, "an unknown back end is refused");
    const rne_resize resize{8, 8, 8, 8, 0, RNE_SHORT, RNE_RGB};
    rne_preprocessor *preprocessor = nullptr;
    expect(rne_preprocessor_open(&resize, &preprocessor) == RNE_OK, "a preprocessor opens");
    const std::uint8_t data[192] = {};
    std::uint8_t pixels[192];
    rne_image image{data, 8, 8, 24, RNE_RGB};
    const int format = -1;
    std::memcpy(&image.format, &format, sizeof format);
    expect(rne_preprocessor_run(preprocessor, &image, pixels) == RNE_INVALID_ARGUMENT, "an unknown format is refused");
    rne_preprocessor_close(preprocessor);
}

// Every prefix of a real manifest, and every single byte changed to a few others.
void check_manifests(const std::vector<char> &manifest) {
    rne_params params = rne_default_params();
    params.check_hashes = 0;
    expect(open_buffers(manifest, params) == RNE_UNSUPPORTED, "a good manifest fails only for want of a back end");
    for (std::size_t bytes = 0; bytes < manifest.size(); bytes += 97) {
        const std::vector<char> cut(manifest.begin(), manifest.begin() + std::ptrdiff_t(bytes));
        expect(open_buffers(cut, params) == RNE_BUNDLE || cut.empty(), "a cut manifest is refused");
    }
    for (std::size_t at = 0; at < manifest.size(); at += 31) {
        for (const char other : {'\0', '"', '{', '9', '-', '\xff'}) {
            std::vector<char> changed = manifest;
            changed[at] = other;
            open_buffers(changed, params);
        }
    }
}

void check_golden_images(const std::string &bundle) {
    rne::Bundle opened = rne::read_bundle(bundle, true);
    const rne::Golden golden = rne::read_golden(opened);
    const std::size_t classes = opened.manifest.classes;
    const std::size_t features = opened.manifest.embedding_dim;
    std::size_t done = 0;
    // An engine that gives the golden outputs themselves.
    const auto perfect = [&](const std::uint8_t *, std::size_t batch, float *logits, float *embedding) {
        std::memcpy(logits, &golden.logits[done * classes], batch * classes * sizeof(float));
        std::memcpy(embedding, &golden.embedding[done * features], batch * features * sizeof(float));
        done += batch;
    };
    for (std::size_t batch = 1; batch <= golden.images + 1; batch++) {
        done = 0;
        const rne_check check = rne::check_golden(opened.manifest, golden, batch, perfect);
        expect(check.same_top1 == golden.images && check.logits_db > 1e6, "equal outputs are infinitely near");
    }
    opened.manifest.classes++;
    bool refused = false;
    try {
        rne::read_golden(opened);
    } catch (const rne::Error &error) {
        refused = error.status() == RNE_BUNDLE;
    }
    expect(refused, "golden files of another shape are refused");
}

// A CPU that adds up in FP16 is judged by what that loses; whatever else runs, by the bundle's own tolerance.
void check_tolerances() {
    rne::Manifest manifest;
    manifest.min_sqnr_db = 47;
    manifest.fp16_sums_sqnr_db = 34;
    for (const char *executes : {"fp16", "int8-fp16 weights, fp16 execution"}) {
        expect(rne::tolerance_db(manifest, executes, false) == 34, "FP16 sums have a tolerance of their own");
        expect(rne::tolerance_db(manifest, executes, true) == 47, "what a GPU adds up in is not known");
    }
    for (const char *executes : {"fp32", "fp16 weights, fp32 execution", "int8-fp16", ""}) {
        expect(rne::tolerance_db(manifest, executes, false) == 47, "others have the bundle's");
    }
}

std::size_t channels_of(rne_pixel_format format) { return format == RNE_GREY ? 1 : format == RNE_RGBA ? 4 : 3; }

void preprocess_sizes(std::size_t first, rne_pixel_format colour) {
    const rne_resize resize{24, 24, 17, 19, std::int32_t(first % 2), static_cast<rne_resize_mode>(first % 3), colour};
    rne_preprocessor *preprocessor = nullptr;
    expect(rne_preprocessor_open(&resize, &preprocessor) == RNE_OK, "a preprocessor opens");
    for (std::size_t width = 1 + first; width < 90; width += 11) {
        for (std::size_t height = 1; height < 90; height += 13) {
            for (const rne_pixel_format format : {RNE_RGB, RNE_GREY, RNE_RGBA}) {
                const std::size_t channels = channels_of(format);
                // Exactly the bytes of the image: a step beyond is seen.
                std::vector<std::uint8_t> data(width * height * channels, std::uint8_t(width));
                std::vector<std::uint8_t> pixels(resize.image_height * resize.image_width * channels_of(colour));
                const rne_image image{data.data(), width, height, width * channels, format};
                expect(rne_preprocessor_run(preprocessor, &image, pixels.data()) == RNE_OK, "an image is resized");
                // Divided by its alpha, a colour that is as large is 255; the alpha of an image without any is 255.
                for (std::size_t i = 0; i < pixels.size(); i++) {
                    const bool whole = colour == RNE_RGBA && i % 4 == 3 && format != RNE_RGBA;
                    expect(whole ? pixels[i] == 255 : colour == RNE_RGBA || pixels[i] == std::uint8_t(width),
                           "an image of one colour keeps it");
                }
            }
        }
    }
    rne_preprocessor_close(preprocessor);
}

} // namespace

int main(int count, char **words) {
    if (count != 2) {
        std::fprintf(stderr, "usage: api_main BUNDLE\n");
        return 2;
    }
    const std::string bundle = words[1];
    check_arguments();
    check_enumerations(bundle);
    check_manifests(read_file(bundle + "/bundle.json"));
    check_golden_images(bundle);
    check_tolerances();
    preprocess_sizes(0, RNE_RGB);
    std::vector<std::thread> threads;
    const rne_pixel_format colours[] = {RNE_RGB, RNE_GREY, RNE_RGBA};
    for (std::size_t i = 1; i < 7; i++) {
        threads.emplace_back([i, &colours] { preprocess_sizes(i, colours[i % 3]); });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    return failures == 0 ? 0 : 1;
}
