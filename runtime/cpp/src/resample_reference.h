// The preprocessing contract in its plainest form: slow, direct, the yardstick of Preprocessor in the tests.
#pragma once

#include <cstdint>

#include "resnet_engine.h"

namespace rne {

// pixels: (image_height, image_width, 3) uint8 RGB; of another colour there is no reference. Neither the image nor the
// sizes are checked.
void preprocess_reference(const rne_resize &resize, const rne_image &image, std::uint8_t *pixels);

} // namespace rne
