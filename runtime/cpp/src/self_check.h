// The golden images: whether an opened engine still computes what the PyTorch original did.
#pragma once

#include <functional>

#include "bundle.h"

namespace rne {

// Runs a batch: pixels (batch, H, W, channels), logits and embedding as in rne_infer().
using Infer = std::function<void(const std::uint8_t *pixels, std::size_t batch, float *logits, float *embedding)>;

// 10 log10(sum(reference^2) / sum((reference - other)^2)); infinite where equal, -infinite where something is not
// finite. The definition of the whole project, runtime/support/paired_statistics.py.
double sqnr_db(const std::vector<float> &reference, const std::vector<float> &other);

// What the outputs of a back end that executes this must reach: runtime/engines/golden_check.py's tolerance_db().
double tolerance_db(const Manifest &manifest, const std::string &executes, bool on_gpu);

// Run the golden images in batches of at most `max_batch`.
rne_check check_golden(const Manifest &manifest, const Golden &golden, std::size_t max_batch, const Infer &infer);

} // namespace rne
