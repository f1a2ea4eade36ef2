#include "self_check.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rne {
namespace {

std::size_t top1(const float *row, std::size_t classes) {
    return std::size_t(std::max_element(row, row + classes) - row);
}

} // namespace

double sqnr_db(const std::vector<float> &reference, const std::vector<float> &other) {
    double signal = 0;
    double noise = 0;
    for (std::size_t i = 0; i < reference.size(); i++) {
        const double difference = double(reference[i]) - double(other[i]);
        if (!std::isfinite(difference)) {
            return -std::numeric_limits<double>::infinity();
        }
        signal += double(reference[i]) * double(reference[i]);
        noise += difference * difference;
    }
    return noise == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(signal / noise);
}

double tolerance_db(const Manifest &manifest, const std::string &executes, bool on_gpu) {
    const std::string end = "fp16 execution";
    const bool differs =
        executes.size() > end.size() && executes.compare(executes.size() - end.size(), end.size(), end) == 0;
    const bool fp16 = executes == "fp16" || differs;
    // What a GPU's kernels add up in, nobody says; those of a CPU add up in FP16.
    return fp16 && !on_gpu ? manifest.fp16_sums_sqnr_db : manifest.min_sqnr_db;
}

rne_check check_golden(const Manifest &manifest, const Golden &golden, std::size_t max_batch, const Infer &infer) {
    std::vector<float> logits(golden.logits.size());
    std::vector<float> embedding(golden.embedding.size());
    for (std::size_t done = 0; done < golden.images; done += max_batch) {
        const std::size_t batch = std::min(max_batch, golden.images - done);
        infer(golden.pixels.data() + done * manifest.pixels_bytes(), batch, logits.data() + done * manifest.classes,
              embedding.data() + done * manifest.embedding_dim);
    }
    rne_check check{};
    check.images = golden.images;
    for (std::size_t i = 0; i < golden.images && manifest.classes != 0; i++) {
        const std::size_t at = i * manifest.classes;
        check.same_top1 += top1(&golden.logits[at], manifest.classes) == top1(&logits[at], manifest.classes);
    }
    check.logits_db = sqnr_db(golden.logits, logits);
    check.embedding_db = sqnr_db(golden.embedding, embedding);
    check.required_db = manifest.min_sqnr_db;
    return check;
}

} // namespace rne
