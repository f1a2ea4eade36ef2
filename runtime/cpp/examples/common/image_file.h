// JPEG and PNG files, decoded by the system's libjpeg-turbo and libpng as Pillow's `convert("RGB")` reads them, or for
// a network of four channels its `convert("RGBA")`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <resnet_engine.h>

// A decoded picture, rows without padding.
struct Picture {
    std::size_t width = 0;
    std::size_t height = 0;
    rne_pixel_format format = RNE_RGB;
    std::vector<std::uint8_t> bytes;

    rne_image view() const {
        const std::size_t channels = format == RNE_GREY ? 1 : format == RNE_RGBA ? 4 : 3;
        return {bytes.data(), width, height, width * channels, format};
    }
};

// Read a file. Returns false and says why in `error` (one line) where it is no JPEG or PNG, or damaged. The pixels are
// as stored: EXIF orientation and colour profiles are not applied, alpha is dropped unless the network
// sees it, 16 bits become the high byte, but for 16-bit grey, which is clipped to 255 unless rne_info.depth16_scale.
// CMYK is refused.
bool read_picture(const std::string &path, const rne_info &info, Picture &picture, std::string &error);
