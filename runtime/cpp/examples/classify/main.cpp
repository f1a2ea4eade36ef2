// classify BUNDLE IMAGE...: the five likeliest classes of each picture.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include <resnet_engine.h>

#include "image_file.h"

namespace {

constexpr std::size_t kShown = 5;

// exp(logit - largest) / sum: what the logits are as probabilities.
std::vector<double> softmax(const std::vector<float> &logits) {
    const double largest = *std::max_element(logits.begin(), logits.end());
    std::vector<double> shares(logits.size());
    std::transform(logits.begin(), logits.end(), shares.begin(), [&](float x) { return std::exp(x - largest); });
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    std::transform(shares.begin(), shares.end(), shares.begin(), [&](double x) { return x / sum; });
    return shares;
}

void print_best(const rne_engine *engine, const std::string &name, const std::vector<float> &logits) {
    std::vector<std::size_t> order(logits.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const std::size_t shown = std::min(kShown, order.size());
    std::partial_sort(order.begin(), order.begin() + std::ptrdiff_t(shown), order.end(),
                      [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
    const std::vector<double> shares = softmax(logits);
    std::printf("%s\n", name.c_str());
    for (std::size_t i = 0; i < shown; i++) {
        std::printf("  %5.1f %%  %.9g  %zu  %s\n", 100 * shares[order[i]], double(logits[order[i]]), order[i],
                    rne_label(engine, order[i]));
    }
}

bool classify(rne_engine *engine, const std::string &path) {
    const rne_info info = rne_get_info(engine);
    std::vector<std::uint8_t> pixels(info.pixels_bytes);
    std::vector<float> logits(info.classes);
    Picture picture;
    std::string error;
    if (!read_picture(path, info, picture, error)) {
        std::fprintf(stderr, "error: %s\n", error.c_str());
        return false;
    }
    const rne_image image = picture.view();
    if (rne_preprocess(engine, &image, pixels.data()) != RNE_OK ||
        rne_infer(engine, pixels.data(), 1, logits.data(), nullptr) != RNE_OK) {
        std::fprintf(stderr, "error: %s: %s\n", path.c_str(), rne_last_error());
        return false;
    }
    print_best(engine, path, logits);
    return true;
}

} // namespace

int main(int count, char **words) {
    if (count < 3) {
        std::fprintf(stderr, "usage: classify BUNDLE IMAGE...\n");
        return 2;
    }
    const rne_params params = rne_default_params();
    rne_engine *engine = nullptr;
    if (rne_open(words[1], &params, &engine) != RNE_OK) {
        std::fprintf(stderr, "error: %s\n", rne_last_error());
        return 1;
    }
    const rne_info info = rne_get_info(engine);
    std::fprintf(stderr, "%s, %s, on %s as %s; licence of the weights: %s\n", info.model, info.precision, info.backend,
                 info.executes, info.licence);
    if (info.classes == 0) {
        std::fprintf(stderr,
                     "error: %s has no classifier, so there is no class to print: run the example `embed` on it, "
                     "or export it with its classifier\n",
                     words[1]);
        rne_close(engine);
        return 1;
    }
    bool all = true;
    for (int i = 2; i < count; i++) {
        all = classify(engine, words[i]) && all;
    }
    rne_close(engine);
    return all ? 0 : 1;
}
