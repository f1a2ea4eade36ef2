// A graph of a fixed batch, run as often as the images need; for back ends that take host memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bundle.h"

namespace rne {

class FixedBatch {
public:
    // Takes no memory where the graph takes any number of images.
    explicit FixedBatch(const Manifest &manifest)
        : size_(manifest.fixed_batch), bytes_(manifest.input_bytes()), classes_(manifest.classes),
          features_(manifest.embedding_dim), input_(size_ * bytes_), logits_(size_ * classes_),
          embedding_(size_ * features_) {}

    // Calls run(input, batch, logits, embedding) once, or once for each part of the graph's size; the last part is
    // filled up with zeros. input: (batch, ...) as the manifest's input has it; outputs: (batch, classes) and
    // (batch, embedding_dim) float32.
    template <typename Run>
    void run_parts(const void *input, std::size_t batch, float *logits, float *embedding, Run run) {
        if (size_ == 0) {
            run(input, batch, logits, embedding);
            return;
        }
        const auto *from = static_cast<const std::uint8_t *>(input);
        const std::size_t left = batch % size_, whole = batch - left;
        for (std::size_t start = 0; start < whole; start += size_) {
            run(from + start * bytes_, size_, logits + start * classes_, embedding + start * features_);
        }
        if (left != 0) {
            const auto unused = std::copy_n(from + whole * bytes_, left * bytes_, input_.begin());
            std::fill(unused, input_.end(), std::uint8_t(0));
            run(input_.data(), size_, logits_.data(), embedding_.data());
            std::copy_n(logits_.begin(), left * classes_, logits + whole * classes_);
            std::copy_n(embedding_.begin(), left * features_, embedding + whole * features_);
        }
    }

private:
    std::size_t size_;
    std::size_t bytes_; // of one image at the network's input
    std::size_t classes_;
    std::size_t features_;
    std::vector<std::uint8_t> input_;
    std::vector<float> logits_;
    std::vector<float> embedding_;
};

} // namespace rne
