// libFuzzer target: an image's sizes, stride and format, and the resize, from bytes. The image lies in memory of
// exactly the bytes that it may be read from, so that AddressSanitizer sees a step beyond them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "resnet_engine.h"

namespace {

// Of what the input does not give: large enough for every branch, small enough for many runs a second.
constexpr std::size_t kMostBytes = 1 << 20;
constexpr std::size_t kMostSide = 512;

struct Numbers {
    const std::uint8_t *data;
    std::size_t bytes;

    std::uint32_t next() {
        std::uint32_t value = 0;
        const std::size_t taken = std::min(bytes, sizeof value);
        std::memcpy(&value, data, taken);
        data += taken;
        bytes -= taken;
        return value;
    }
    // Mostly a number of a usual size, at times any.
    std::size_t size() {
        const std::uint32_t value = next();
        return value % 16 == 0 ? std::size_t(value) << (value % 31) : (value >> 4) % kMostSide;
    }
};

std::size_t channels_of(std::uint32_t format) { return format == RNE_GREY ? 1 : format == RNE_RGBA ? 4 : 3; }

void run(rne_preprocessor *preprocessor, Numbers numbers, std::size_t pixels_bytes) {
    rne_image image{};
    image.width = numbers.size();
    image.height = numbers.size();
    const std::uint32_t format = numbers.next() % 3;
    image.format = static_cast<rne_pixel_format>(format);
    const std::size_t channels = channels_of(format);
    const std::size_t padding = numbers.size();
    image.stride_bytes = image.width * channels + padding;
    if (numbers.next() % 8 == 0) {
        image.stride_bytes = numbers.size();
    }
    // Refused before any pixel is read, or within these bytes.
    const bool small = image.width <= kMostSide && image.height <= kMostSide && image.stride_bytes <= 4 * kMostSide;
    const std::size_t bytes = small && image.height > 0 && image.stride_bytes >= image.width * channels
                                  ? image.stride_bytes * (image.height - 1) + image.width * channels
                                  : 0;
    const bool readable = bytes > 0 && bytes <= kMostBytes;
    if (!readable && image.width > 0 && image.height > 0 && image.stride_bytes >= image.width * channels) {
        return; // a good image of more memory than a fuzzer should touch
    }
    std::vector<std::uint8_t> pixels(std::max<std::size_t>(bytes, 1));
    for (std::size_t i = 0; i < pixels.size(); i++) {
        pixels[i] = numbers.bytes == 0 ? std::uint8_t(i) : numbers.data[i % numbers.bytes];
    }
    image.data = pixels.data();
    std::vector<std::uint8_t> out(pixels_bytes);
    const rne_status status = rne_preprocessor_run(preprocessor, &image, out.data());
    if (status != RNE_OK && (status != RNE_INVALID_ARGUMENT || *rne_last_error() == '\0')) {
        std::abort();
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t bytes) {
    Numbers numbers{data, bytes};
    rne_resize resize{};
    resize.resize_height = numbers.size();
    resize.resize_width = numbers.next() % 2 == 0 ? resize.resize_height : numbers.size();
    resize.image_height = numbers.size();
    resize.image_width = numbers.next() % 2 == 0 ? resize.image_height : numbers.size();
    resize.mode = static_cast<rne_resize_mode>(numbers.next() % 3);
    resize.bicubic = std::int32_t(numbers.next() % 2);
    const std::uint32_t colour = numbers.next() % 3;
    resize.colour = static_cast<rne_pixel_format>(colour);
    rne_preprocessor *preprocessor = nullptr;
    const rne_status status = rne_preprocessor_open(&resize, &preprocessor);
    if ((status == RNE_OK) != (preprocessor != nullptr)) {
        std::abort();
    }
    if (status == RNE_OK && resize.resize_height <= kMostSide && resize.resize_width <= kMostSide) {
        run(preprocessor, numbers, resize.image_height * resize.image_width * channels_of(colour));
        // A second image in the same buffers, smaller or larger.
        numbers.next();
        run(preprocessor, numbers, resize.image_height * resize.image_width * channels_of(colour));
    }
    rne_preprocessor_close(preprocessor);
    return 0;
}
