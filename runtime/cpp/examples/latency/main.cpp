// latency BUNDLE [--batch N] [--seconds S] [--threads N] [--backend openvino|onnxruntime|tensorrt] [--precision
// f32|bf16|f16]
//
// How long rne_infer() takes, pixels in host memory to logits in host memory, as JSON. The golden images are not
// needed: the pixels are a fixed pattern. Warm-up is not counted.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <resnet_engine.h>

namespace {

using Clock = std::chrono::steady_clock;

// At least this many runs: the 99th percentile of fewer is a guess.
constexpr std::size_t kFewestRuns = 200;
constexpr double kWarmUpSeconds = 0.5;

struct Options {
    const char *bundle = nullptr;
    double seconds = 5;
    rne_params params = rne_default_params();
};

double seconds_since(Clock::time_point began) { return std::chrono::duration<double>(Clock::now() - began).count(); }

// The value that a share of the sorted runs does not exceed, by linear interpolation, as numpy.percentile.
double percentile(const std::vector<double> &sorted, double share) {
    const double at = share * double(sorted.size() - 1);
    const auto below = std::size_t(at);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (at - double(below)) * (sorted[above] - sorted[below]);
}

bool read_option(Options &options, const char *name, const char *value) {
    char *end = nullptr;
    const double number = std::strtod(value, &end);
    const bool is_number = end != value && *end == '\0' && number > 0 && number < 1e6;
    const bool is_whole = is_number && std::floor(number) == number;
    if (std::strcmp(name, "--batch") == 0 && is_whole) {
        options.params.max_batch = int(number);
    } else if (std::strcmp(name, "--threads") == 0 && is_whole) {
        options.params.threads = int(number);
    } else if (std::strcmp(name, "--seconds") == 0 && is_number) {
        options.seconds = number;
    } else if (std::strcmp(name, "--precision") == 0) {
        options.params.precision = value;
    } else if (std::strcmp(name, "--backend") == 0 && std::strcmp(value, "openvino") == 0) {
        options.params.backend = RNE_BACKEND_OPENVINO;
    } else if (std::strcmp(name, "--backend") == 0 && std::strcmp(value, "onnxruntime") == 0) {
        options.params.backend = RNE_BACKEND_ONNXRUNTIME;
    } else if (std::strcmp(name, "--backend") == 0 && std::strcmp(value, "tensorrt") == 0) {
        options.params.backend = RNE_BACKEND_TENSORRT;
    } else {
        return false;
    }
    return true;
}

bool read_options(Options &options, int count, char **words) {
    if (count < 2 || count % 2 != 0) {
        return false;
    }
    options.bundle = words[1];
    for (int i = 2; i < count; i += 2) {
        if (!read_option(options, words[i], words[i + 1])) {
            return false;
        }
    }
    return true;
}

// Milliseconds of each run; empty on failure.
std::vector<double> measure(rne_engine *engine, const Options &options) {
    const rne_info info = rne_get_info(engine);
    const std::size_t batch = info.max_batch;
    std::vector<std::uint8_t> pixels(batch * info.pixels_bytes);
    for (std::size_t i = 0; i < pixels.size(); i++) {
        pixels[i] = std::uint8_t((i * 2654435761U) >> 24);
    }
    std::vector<float> logits(batch * info.classes);
    std::vector<float> embedding(batch * info.embedding_dim);
    std::vector<double> runs;
    bool warm = false;
    auto began = Clock::now();
    while (!warm || runs.size() < kFewestRuns || seconds_since(began) < options.seconds) {
        const auto start = Clock::now();
        if (rne_infer(engine, pixels.data(), batch, logits.data(), embedding.data()) != RNE_OK) {
            return {};
        }
        const double run_ms = 1e3 * seconds_since(start);
        if (warm) {
            runs.push_back(run_ms);
        } else if (seconds_since(began) > kWarmUpSeconds) {
            warm = true;
            began = Clock::now();
        }
    }
    return runs;
}

void print_json(const rne_engine *engine, std::vector<double> runs, double open_ms) {
    const rne_info info = rne_get_info(engine);
    std::sort(runs.begin(), runs.end());
    const double mean = std::accumulate(runs.begin(), runs.end(), 0.0) / double(runs.size());
    std::printf("{\"model\": \"%s\", \"precision\": \"%s\", \"executes\": \"%s\", \"backend\": \"%s\", \"batch\": %zu, "
                "\"runs\": %zu, \"open_ms\": %.3f, \"mean_ms\": %.4f, \"median_ms\": %.4f, \"p90_ms\": %.4f, "
                "\"p99_ms\": %.4f, \"min_ms\": %.4f, \"max_ms\": %.4f, \"images_per_s\": %.2f, \"library\": \"%s\"}\n",
                info.model, info.precision, info.executes, info.backend, info.max_batch, runs.size(), open_ms, mean,
                percentile(runs, 0.5), percentile(runs, 0.9), percentile(runs, 0.99), runs.front(), runs.back(),
                1e3 * double(info.max_batch) / mean, rne_version());
}

} // namespace

int main(int count, char **words) {
    Options options;
    if (!read_options(options, count, words)) {
        std::fprintf(stderr, "usage: latency BUNDLE [--batch N] [--seconds S] [--threads N] "
                             "[--backend openvino|onnxruntime|tensorrt] [--precision f32|bf16|f16]\n");
        return 2;
    }
    rne_engine *engine = nullptr;
    const auto began = Clock::now();
    if (rne_open(options.bundle, &options.params, &engine) != RNE_OK) {
        std::fprintf(stderr, "error: %s\n", rne_last_error());
        return 1;
    }
    const double open_ms = 1e3 * seconds_since(began);
    const std::vector<double> runs = measure(engine, options);
    if (runs.empty()) {
        std::fprintf(stderr, "error: %s\n", rne_last_error());
        rne_close(engine);
        return 1;
    }
    print_json(engine, runs, open_ms);
    rne_close(engine);
    return 0;
}
