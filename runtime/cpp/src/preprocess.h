// From an image to the network's pixels; the bytes are those of runtime/images/preprocessing.py, whose docstring is the
// rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "coefficients.h"
#include "resample.h"
#include "resnet_engine.h"

namespace rne {

// Only what the crop keeps is computed: rows outside it are not read, columns outside it never made. The rows between
// the passes live in a ring as long as the vertical filter, which fits the first-level cache for photographs.
class Preprocessor {
public:
    // Throws RNE_INVALID_ARGUMENT for sizes that no image could have, RNE_UNSUPPORTED for instructions that this
    // processor lacks.
    explicit Preprocessor(const rne_resize &resize, Instructions instructions = Instructions::best);

    // pixels: (image_height, image_width, channels) uint8. Allocates only for an image that is wider or taller than any
    // before it. Throws RNE_INVALID_ARGUMENT.
    void run(const rne_image &image, std::uint8_t *pixels);

private:
    void prepare(const rne_image &image);
    void pass_two_rows(const rne_image &image, std::size_t row);
    const std::uint8_t *row_of(const rne_image &image, std::size_t row, std::size_t which);
    void collect_rows(std::size_t first);
    std::uint8_t *slot(std::size_t row) { return ring_.data() + row % slots_ * slot_bytes_; }

    rne_resize resize_;
    const Kernels *kernels_;
    Axis across_;
    Axis down_;
    AcrossKernel across_kernel_ = nullptr;   // for the rows of the image at hand
    bool rewritten_ = false;                 // whether its rows are brought to the network's colours first
    bool weighed_ = false;                   // whether its colours are weighed by alpha
    std::size_t channels_ = 0;               // of the rows in the ring
    std::size_t slots_ = 0;                  // rows in the ring
    std::size_t slot_bytes_ = 0;             // a row's crop, and what the kernels write behind it
    std::size_t inside_ = 0;                 // outputs whose reads stay inside a row; the others read a copy
    std::vector<std::uint8_t> ring_;         // (slots, slot_bytes)
    std::vector<std::uint8_t> ends_[2];      // copies of two rows, or their ends, readable beyond
    std::vector<std::uint8_t> grey_;         // (image_width): one row before it is written three times
    std::vector<const std::uint8_t *> rows_; // the vertical window's rows
};

} // namespace rne
