#include "exact_doubles.h"

#include "preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

#include "status.h"

namespace rne {
namespace {

// As in runtime/images/preprocessing.py: where Pillow refuses to open a picture.
constexpr std::size_t kMaxResizedPixels = 178956970;
// Its square root: a larger short side would make every picture too large.
constexpr std::size_t kMaxResizeSize = 13377;
// A row of 4 bytes a pixel stays below 2^31 bytes, as in Pillow; the windows' places are 32-bit integers.
constexpr std::size_t kMaxSide = std::numeric_limits<std::int32_t>::max() / 4;
// What the kernels may read or write beyond a row, with room to spare.
constexpr std::size_t kBeyond = 64;

struct Size {
    std::size_t width;
    std::size_t height;
};

[[noreturn]] void refuse(const std::string &message) { throw Error(RNE_INVALID_ARGUMENT, message); }

std::string text(std::size_t value) { return std::to_string(value); }

std::size_t pixel_bytes(rne_pixel_format format) { return format == RNE_GREY ? 1 : format == RNE_RGBA ? 4 : 3; }

// Python's int(target * length / shorter); the product is below 2^53, so exact in double.
std::size_t long_side(std::size_t target, std::size_t length, std::size_t shorter) {
    const std::uint64_t product = static_cast<std::uint64_t>(target) * length;
    return static_cast<std::size_t>(static_cast<double>(product) / static_cast<double>(shorter));
}

// Python's round(length / ratio): halves go to the even neighbour. Bounded, so that the cast is defined.
std::size_t scaled_side(std::size_t length, double ratio) {
    const double most = static_cast<double>(kMaxResizedPixels) + 1;
    return static_cast<std::size_t>(std::min(std::nearbyint(static_cast<double>(length) / ratio), most));
}

// Source: torchvision `_compute_resized_output_size`; timm `ResizeKeepRatio` for RNE_COVER.
Size resized_size(Size image, const rne_resize &resize) {
    if (resize.mode == RNE_SQUASH) {
        return {resize.resize_width, resize.resize_height};
    }
    if (resize.mode == RNE_COVER) {
        const double ratio = std::min(static_cast<double>(image.height) / static_cast<double>(resize.resize_height),
                                      static_cast<double>(image.width) / static_cast<double>(resize.resize_width));
        return {scaled_side(image.width, ratio), scaled_side(image.height, ratio)};
    }
    const std::size_t target = resize.resize_height;
    if (image.width <= image.height) {
        return {target, long_side(target, image.height, image.width)};
    }
    return {long_side(target, image.width, image.height), target};
}

// Python's round((length - size) / 2): halves go to the even neighbour. Source: torchvision `center_crop`.
std::size_t crop_offset(std::size_t length, std::size_t size) {
    const std::size_t twice = length - size;
    const std::size_t below = twice / 2;
    return twice % 2 == 1 && below % 2 == 1 ? below + 1 : below;
}

// A C program can put any integer there, which C++ may not load as the enumeration.
void check_format(const rne_pixel_format &format, const char *whose) {
    std::underlying_type_t<rne_pixel_format> value;
    std::memcpy(&value, &format, sizeof value);
    if (value != RNE_RGB && value != RNE_GREY && value != RNE_RGBA) {
        refuse(std::string(whose) + " is " + std::to_string(value) +
               ", expected RNE_RGB, RNE_GREY or RNE_RGBA: convert it");
    }
}

void check_resize(const rne_resize &resize) {
    check_format(resize.colour, "the colour of the pixels");
    std::underlying_type_t<rne_resize_mode> mode;
    std::memcpy(&mode, &resize.mode, sizeof mode);
    if (mode != RNE_SHORT && mode != RNE_COVER && mode != RNE_SQUASH) {
        refuse("the resize mode is " + std::to_string(mode) + ", expected RNE_SHORT, RNE_COVER or RNE_SQUASH");
    }
    const std::string resized = text(resize.resize_height) + "x" + text(resize.resize_width);
    if (resize.image_height == 0 || resize.image_height > resize.resize_height || resize.image_width == 0 ||
        resize.image_width > resize.resize_width) {
        refuse("the image is " + text(resize.image_height) + "x" + text(resize.image_width) + " px of " + resized +
               ", expected 1 px at least, and no more than is resized: take both from the bundle's manifest");
    }
    if (resize.resize_height > kMaxResizeSize || resize.resize_width > kMaxResizeSize ||
        (resize.mode == RNE_SHORT && resize.resize_height != resize.resize_width)) {
        refuse("the resize is to " + resized + " px, expected at most " + text(kMaxResizeSize) +
               ", and of the short side one number: take it from the bundle's manifest");
    }
}

void check_layout(const rne_image &image) {
    check_format(image.format, "an image's format");
    if (image.width == 0 || image.height == 0 || image.width > kMaxSide || image.height > kMaxSide) {
        refuse("an image is " + text(image.width) + "x" + text(image.height) + " px, expected sides of 1 to " +
               text(kMaxSide) + ": look at what decoded it");
    }
    const std::size_t row = image.width * pixel_bytes(image.format);
    if (image.stride_bytes < row || image.stride_bytes > std::numeric_limits<std::size_t>::max() / image.height) {
        refuse("an image's rows are " + text(image.stride_bytes) + " bytes apart, expected at least the " + text(row) +
               " bytes of " + text(image.width) + " pixels, and a total that can be addressed: set stride_bytes");
    }
}

void check_image(const rne_image &image, const std::uint8_t *pixels, const rne_resize &resize) {
    if (image.data == nullptr || pixels == nullptr) {
        refuse(std::string(image.data == nullptr ? "the image's data" : "the pixels' buffer") +
               " is a null pointer, expected memory of the caller's: allocate it first");
    }
    check_layout(image);
    const Size resized = resized_size({image.width, image.height}, resize);
    if (resized.width > kMaxResizedPixels / resized.height) {
        refuse("an image of " + text(image.width) + "x" + text(image.height) + " px would become " +
               text(resized.width) + "x" + text(resized.height) + " px, expected at most " + text(kMaxResizedPixels) +
               " pixels: crop it, or leave it out");
    }
}

void write_three_times(const std::uint8_t *grey, std::size_t count, std::uint8_t *rgb) {
    for (std::size_t i = 0; i < count; i++) {
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = grey[i];
    }
}

// Pillow's convert("L") of a row of RGB or RGBA. Source: Pillow, Convert.c, `L24`.
void write_luminance(const std::uint8_t *in, std::size_t step, std::size_t count, std::uint8_t *grey) {
    for (std::size_t i = 0; i < count; i++, in += step) {
        grey[i] = static_cast<std::uint8_t>((in[0] * 19595U + in[1] * 38470U + in[2] * 7471U + 0x8000U) >> 16U);
    }
}

// A row of any format as RGBA, with 255 where it has no alpha.
void write_four(const std::uint8_t *in, std::size_t step, std::size_t count, std::uint8_t *four) {
    for (std::size_t i = 0; i < count; i++, in += step, four += 4) {
        for (std::size_t c = 0; c < 3; c++) {
            four[c] = in[step == 1 ? 0 : c];
        }
        four[3] = step == 4 ? in[3] : 255;
    }
}

// Pillow's convert("RGBa"), in place. Source: Pillow, Convert.c, `rgba2rgbA`, and ImagingUtils.h, `MULDIV255`.
void multiply_by_alpha(std::uint8_t *four, std::size_t count) {
    for (std::size_t i = 0; i < count; i++, four += 4) {
        for (std::size_t c = 0; c < 3; c++) {
            const std::uint32_t product = std::uint32_t{four[c]} * four[3] + 128U;
            four[c] = static_cast<std::uint8_t>(((product >> 8U) + product) >> 8U);
        }
    }
}

// And back, convert("RGBA"). Source: Pillow, Convert.c, `rgbA2rgba`.
void divide_by_alpha(std::uint8_t *four, std::size_t count) {
    for (std::size_t i = 0; i < count; i++, four += 4) {
        for (std::size_t c = 0; c < 3 && four[3] != 0; c++) {
            four[c] = static_cast<std::uint8_t>(std::min(255U * four[c] / four[3], 255U));
        }
    }
}

template <typename T> void grow(std::vector<T> &buffer, std::size_t size) {
    if (buffer.size() < size) {
        buffer.resize(size);
    }
}

} // namespace

Preprocessor::Preprocessor(const rne_resize &resize, Instructions instructions)
    : resize_(resize), kernels_(kernels_for(instructions)) {
    check_resize(resize);
    if (kernels_ == nullptr) {
        throw Error(RNE_UNSUPPORTED, "this processor lacks the vector instructions asked for: ask for the best");
    }
    slot_bytes_ = round_up(resize.image_width, 4) * pixel_bytes(resize.colour) + kBeyond;
    grey_.resize(resize.image_width);
}

void Preprocessor::run(const rne_image &image, std::uint8_t *pixels) {
    check_image(image, pixels, resize_);
    prepare(image);
    const AxisView down = down_.view();
    const bool thrice = image.format == RNE_GREY && resize_.colour == RNE_RGB;
    const std::size_t width = resize_.image_width;
    const std::size_t row = width * pixel_bytes(resize_.colour);
    std::size_t next = down_.first(0);
    for (std::size_t y = 0; y < resize_.image_height; y++, pixels += row) {
        for (; next < down_.first(y) + down.taps; next += 2) {
            pass_two_rows(image, next);
        }
        collect_rows(down_.first(y));
        kernels_->down(down, y, rows_.data(), width * channels_, thrice ? grey_.data() : pixels);
        if (thrice) {
            write_three_times(grey_.data(), width, pixels);
        }
        if (weighed_) {
            divide_by_alpha(pixels, width);
        }
    }
}

void Preprocessor::prepare(const rne_image &image) {
    const std::size_t width = resize_.image_width;
    const std::size_t height = resize_.image_height;
    const bool bicubic = resize_.bicubic != 0;
    const Size resized = resized_size({image.width, image.height}, resize_);
    across_.prepare(image.width, resized.width, resize_.resize_width, {crop_offset(resized.width, width), width},
                    bicubic);
    down_.prepare(image.height, resized.height, resize_.resize_height, {crop_offset(resized.height, height), height},
                  bicubic);

    // What the rows are when the horizontal pass reads them.
    const std::size_t step = pixel_bytes(image.format);
    rewritten_ = resize_.colour == RNE_RGBA || (resize_.colour == RNE_GREY && image.format != RNE_GREY);
    // Pillow's resize weighs by alpha, and a picture that has its size already is not resized.
    weighed_ = resize_.colour == RNE_RGBA && (resized.width != image.width || resized.height != image.height);
    channels_ = resize_.colour == RNE_RGBA ? 4 : resize_.colour == RNE_GREY || step == 1 ? 1 : 3;
    across_kernel_ = channels_ == 4   ? kernels_->across_four
                     : channels_ == 1 ? kernels_->across_grey
                     : step == 4      ? kernels_->across_rgba
                                      : kernels_->across_rgb;

    // Bounds that only grow with the image's sides, so that no smaller image needs more.
    const std::size_t rows = most_taps(image.height, resize_.resize_height, bicubic) + 2;
    grow(ring_, rows * slot_bytes_);
    grow(rows_, rows);
    grow(ends_[0], image.width * 4 + kBeyond);
    grow(ends_[1], image.width * 4 + kBeyond);
    slots_ = down_.taps() + 2;

    inside_ = round_up(width, 4);
    if (rewritten_) {
        return; // all of it is read from a copy
    }
    const std::size_t read = step == 1 ? round_up(across_.taps(), 8) : round_up(across_.taps(), 4) * step + 4;
    while (inside_ > 0 && across_.first(inside_ - 1) * step + read > image.width * step) {
        inside_ -= 4;
    }
}

// The rows `row` and, where there is one, `row + 1` from the image into the ring.
void Preprocessor::pass_two_rows(const rne_image &image, std::size_t row) {
    const std::size_t second = std::min(row + 1, image.height - 1);
    const std::uint8_t *in[2] = {row_of(image, row, 0), row_of(image, second, 1)};
    std::uint8_t *const out[2] = {slot(row), slot(second)};
    const AxisView axis = across_.view();
    across_kernel_(axis, 0, inside_, 0, in, out);
    const std::size_t end = round_up(resize_.image_width, 4);
    if (inside_ == end) {
        return;
    }
    const std::size_t step = pixel_bytes(image.format);
    const std::size_t origin = across_.first(inside_);
    for (std::size_t i = 0; i < 2; i++) {
        std::memcpy(ends_[i].data(), in[i] + origin * step, (image.width - origin) * step);
        in[i] = ends_[i].data();
    }
    across_kernel_(axis, inside_, end, origin, in, out);
}

// A row of the image, or a copy of it in the network's colours; `which` of the two rows at hand it is.
const std::uint8_t *Preprocessor::row_of(const rne_image &image, std::size_t row, std::size_t which) {
    const std::uint8_t *in = image.data + row * image.stride_bytes;
    if (!rewritten_) {
        return in;
    }
    std::uint8_t *copy = ends_[which].data();
    if (channels_ == 1) {
        write_luminance(in, pixel_bytes(image.format), image.width, copy);
    } else {
        write_four(in, pixel_bytes(image.format), image.width, copy);
    }
    if (weighed_) {
        multiply_by_alpha(copy, image.width);
    }
    return copy;
}

void Preprocessor::collect_rows(std::size_t first) {
    for (std::size_t k = 0; k < down_.taps(); k++) {
        rows_[k] = slot(first + k);
    }
    // The kernels take rows in twos; the weight of this one is zero.
    rows_[down_.taps()] = rows_[down_.taps() - 1];
}

} // namespace rne
