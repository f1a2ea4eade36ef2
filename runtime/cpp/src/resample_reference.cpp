// Source: Pillow, src/libImaging/Resample.c, precompute_coeffs to ImagingResampleVertical_8bpc; see
// runtime/images/preprocessing.py for the rule in words.
#include "exact_doubles.h"

#include "resample_reference.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace rne {
namespace {

// (height, width, 3)
struct Picture {
    std::size_t width;
    std::size_t height;
    std::vector<std::uint8_t> bytes;

    Picture(std::size_t w, std::size_t h) : width(w), height(h), bytes(w * h * 3) {}
    std::uint8_t &at(std::size_t x, std::size_t y, std::size_t c) { return bytes[(y * width + x) * 3 + c]; }
    std::uint8_t at(std::size_t x, std::size_t y, std::size_t c) const { return bytes[(y * width + x) * 3 + c]; }
};

struct Window {
    std::size_t first;
    std::vector<std::int32_t> weights; // 22 fractional bits
};

double weigh(double x, bool bicubic) {
    x = std::fabs(x);
    if (!bicubic) {
        return x < 1.0 ? 1.0 - x : 0.0;
    }
    const double a = -0.5;
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    }
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

Window window_of(std::size_t x, std::size_t in, std::size_t out, bool bicubic) {
    const double scale = static_cast<double>(in) / static_cast<double>(out);
    const double filter_scale = std::max(scale, 1.0);
    const double reach = (bicubic ? 2.0 : 1.0) * filter_scale;
    const double centre = (static_cast<double>(x) + 0.5) * scale;
    const auto first = static_cast<std::size_t>(std::max(0.0, centre - reach + 0.5));
    const auto end = std::min(in, static_cast<std::size_t>(centre + reach + 0.5));
    std::vector<double> raw;
    double total = 0.0;
    for (std::size_t i = first; i < end; i++) {
        raw.push_back(weigh((static_cast<double>(i) - centre + 0.5) * (1.0 / filter_scale), bicubic));
        total += raw.back();
    }
    Window window{first, {}};
    for (const double weight : raw) {
        const double fixed = weight * (1.0 / total) * (1 << 22);
        window.weights.push_back(static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
    return window;
}

std::uint8_t clip(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp((sum + (1 << 21)) >> 22, 0, 255)); }

Picture resample_across(const Picture &in, std::size_t width, bool bicubic) {
    Picture out(width, in.height);
    for (std::size_t x = 0; x < width; x++) {
        const Window window = window_of(x, in.width, width, bicubic);
        for (std::size_t y = 0; y < in.height; y++) {
            for (std::size_t c = 0; c < 3; c++) {
                std::int32_t sum = 0;
                for (std::size_t k = 0; k < window.weights.size(); k++) {
                    sum += window.weights[k] * in.at(window.first + k, y, c);
                }
                out.at(x, y, c) = clip(sum);
            }
        }
    }
    return out;
}

Picture resample_down(const Picture &in, std::size_t height, bool bicubic) {
    Picture out(in.width, height);
    for (std::size_t y = 0; y < height; y++) {
        const Window window = window_of(y, in.height, height, bicubic);
        for (std::size_t x = 0; x < in.width; x++) {
            for (std::size_t c = 0; c < 3; c++) {
                std::int32_t sum = 0;
                for (std::size_t k = 0; k < window.weights.size(); k++) {
                    sum += window.weights[k] * in.at(x, window.first + k, c);
                }
                out.at(x, y, c) = clip(sum);
            }
        }
    }
    return out;
}

Picture rgb_of(const rne_image &image) {
    Picture rgb(image.width, image.height);
    const std::size_t step = image.format == RNE_GREY ? 1 : image.format == RNE_RGBA ? 4 : 3;
    for (std::size_t y = 0; y < image.height; y++) {
        for (std::size_t x = 0; x < image.width; x++) {
            for (std::size_t c = 0; c < 3; c++) {
                rgb.at(x, y, c) = image.data[y * image.stride_bytes + x * step + (step == 1 ? 0 : c)];
            }
        }
    }
    return rgb;
}

// Python's int(short_target * long / short).
std::size_t long_side(std::size_t target, std::size_t length, std::size_t shorter) {
    return static_cast<std::size_t>(static_cast<double>(target * length) / static_cast<double>(shorter));
}

} // namespace

void preprocess_reference(const rne_resize &resize, const rne_image &image, std::uint8_t *pixels) {
    const bool bicubic = resize.bicubic != 0;
    const bool upright = image.width <= image.height;
    const std::size_t target = resize.resize_height;
    std::size_t width = upright ? target : long_side(target, image.width, image.height);
    std::size_t height = upright ? long_side(target, image.height, image.width) : target;
    if (resize.mode == RNE_SQUASH) {
        width = resize.resize_width;
        height = resize.resize_height;
    } else if (resize.mode == RNE_COVER) {
        // nearbyint rounds halves to even, as Python's round does.
        const double ratio = std::min(static_cast<double>(image.height) / static_cast<double>(resize.resize_height),
                                      static_cast<double>(image.width) / static_cast<double>(resize.resize_width));
        width = static_cast<std::size_t>(std::nearbyint(static_cast<double>(image.width) / ratio));
        height = static_cast<std::size_t>(std::nearbyint(static_cast<double>(image.height) / ratio));
    }
    Picture picture = rgb_of(image);
    if (width != picture.width) {
        picture = resample_across(picture, width, bicubic);
    }
    if (height != picture.height) {
        picture = resample_down(picture, height, bicubic);
    }
    const auto left = static_cast<std::size_t>(std::nearbyint(static_cast<double>(width - resize.image_width) / 2.0));
    const auto top = static_cast<std::size_t>(std::nearbyint(static_cast<double>(height - resize.image_height) / 2.0));
    for (std::size_t y = 0; y < resize.image_height; y++) {
        for (std::size_t x = 0; x < resize.image_width; x++) {
            for (std::size_t c = 0; c < 3; c++) {
                *pixels++ = picture.at(left + x, top + y, c);
            }
        }
    }
}

} // namespace rne
