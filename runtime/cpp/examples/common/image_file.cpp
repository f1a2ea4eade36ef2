#include "image_file.h"

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <memory>

#include <jpeglib.h>
// After jpeglib.h, which it needs.
#include <jerror.h>
#include <png.h>

namespace {

struct FileCloser {
    void operator()(std::FILE *file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, FileCloser>;

// Twice Pillow's MAX_IMAGE_PIXELS, as runtime/images/reading.py has it: a file of some bytes may claim to be any size.
constexpr std::size_t kMostPixels = 2 * std::size_t{178956970} - 1;

bool fits(const Picture &picture, std::string &error) {
    const bool fitting = picture.height == 0 || picture.width <= kMostPixels / picture.height;
    if (!fitting) {
        error = "claims to be " + std::to_string(picture.width) + "x" + std::to_string(picture.height) +
                " px, expected at most " + std::to_string(kMostPixels) + " pixels: leave it out";
    }
    return fitting;
}

// libjpeg's way out of an error; it must not return.
struct JpegErrors {
    jpeg_error_mgr base;
    std::jmp_buf jump;
    bool ended_early;
    char text[JMSG_LENGTH_MAX];
};

void leave_jpeg(j_common_ptr info) {
    auto *errors = reinterpret_cast<JpegErrors *>(info->err);
    info->err->format_message(info, errors->text);
    std::longjmp(errors->jump, 1);
}

// A file that ended early is filled up with grey, and only a warning tells. Of the other warnings, such as bytes
// between two markers, Pillow makes nothing either.
void note_early_end(j_common_ptr info, int level) {
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) {
        reinterpret_cast<JpegErrors *>(info->err)->ended_early = true;
    }
}

// Everything with a destructor lives outside: longjmp would skip it.
bool decode_jpeg(jpeg_decompress_struct &info, JpegErrors &errors, std::FILE *file, Picture &picture,
                 std::string &error) {
    if (setjmp(errors.jump) != 0) {
        error = errors.text;
        return false;
    }
    jpeg_stdio_src(&info, file);
    jpeg_read_header(&info, TRUE);
    if (info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK) {
        error = "is a CMYK JPEG: convert it to RGB first";
        return false;
    }
    const bool grey = info.jpeg_color_space == JCS_GRAYSCALE;
    info.out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
    picture.width = info.image_width;
    picture.height = info.image_height;
    picture.format = grey ? RNE_GREY : RNE_RGB;
    if (!fits(picture, error)) {
        return false;
    }
    jpeg_start_decompress(&info);
    const std::size_t stride = picture.width * (grey ? 1 : 3);
    picture.bytes.resize(stride * picture.height);
    while (info.output_scanline < info.output_height) {
        JSAMPROW row = picture.bytes.data() + stride * info.output_scanline;
        jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
    if (errors.ended_early) {
        error = "is a damaged JPEG: it ends early";
        return false;
    }
    return true;
}

bool read_jpeg(std::FILE *file, Picture &picture, std::string &error) {
    jpeg_decompress_struct info{};
    JpegErrors errors{};
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = leave_jpeg;
    errors.base.emit_message = note_early_end;
    jpeg_create_decompress(&info);
    const bool read = decode_jpeg(info, errors, file, picture, error);
    jpeg_destroy_decompress(&info);
    return read;
}

struct PngErrors {
    std::jmp_buf jump;
    char text[256];
};

void leave_png(png_structp png, png_const_charp text) {
    auto *errors = static_cast<PngErrors *>(png_get_error_ptr(png));
    std::snprintf(errors->text, sizeof errors->text, "is a damaged PNG (%s)", text);
    std::longjmp(errors->jump, 1);
}

void ignore_warning(png_structp /*png*/, png_const_charp /*text*/) {}

// 16-bit grey: big-endian pairs to one byte, the high one, or clipped.
void shorten_grey(Picture &picture, bool scale16) {
    for (std::size_t i = 0; i < picture.width * picture.height; i++) {
        const std::uint8_t high = picture.bytes[2 * i];
        picture.bytes[i] = scale16 ? high : high != 0 ? 255 : picture.bytes[2 * i + 1];
    }
    picture.bytes.resize(picture.width * picture.height);
}

bool decode_png(png_structp png, png_infop info, PngErrors &errors, std::FILE *file, const rne_info &network,
                Picture &picture, std::vector<png_bytep> &rows, std::string &error) {
    if (setjmp(errors.jump) != 0) {
        error = errors.text;
        return false;
    }
    png_init_io(png, file);
    png_read_info(png, info);
    const int type = png_get_color_type(png, info);
    const bool wide_grey = type == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) == 16;
    if (!wide_grey) {
        png_set_strip_16(png);
    }
    png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY) {
        png_set_expand_gray_1_2_4_to_8(png);
    }
    const bool with_alpha = network.channels == 4 && !wide_grey;
    if (with_alpha) {
        png_set_gray_to_rgb(png);
        png_set_tRNS_to_alpha(png);
        png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
    } else {
        png_set_strip_alpha(png);
    }
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    picture.width = png_get_image_width(png, info);
    picture.height = png_get_image_height(png, info);
    picture.format = png_get_channels(png, info) == 1 ? RNE_GREY : with_alpha ? RNE_RGBA : RNE_RGB;
    if (!fits(picture, error)) {
        return false;
    }
    const std::size_t stride = png_get_rowbytes(png, info);
    picture.bytes.resize(stride * picture.height);
    rows.resize(picture.height);
    for (std::size_t i = 0; i < picture.height; i++) {
        rows[i] = picture.bytes.data() + stride * i;
    }
    png_read_image(png, rows.data());
    png_read_end(png, nullptr);
    if (wide_grey) {
        shorten_grey(picture, network.depth16_scale != 0);
    }
    return true;
}

bool read_png(std::FILE *file, const rne_info &network, Picture &picture, std::string &error) {
    PngErrors errors{};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors, leave_png, ignore_warning);
    png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
    bool read = false;
    std::vector<png_bytep> rows;
    if (info != nullptr) {
        read = decode_png(png, info, errors, file, network, picture, rows, error);
    } else {
        error = "cannot be decoded: out of memory";
    }
    png_destroy_read_struct(&png, &info, nullptr);
    return read;
}

} // namespace

bool read_picture(const std::string &path, const rne_info &info, Picture &picture, std::string &error) {
    const File file(std::fopen(path.c_str(), "rb"));
    unsigned char head[8] = {};
    if (!file || std::fread(head, 1, sizeof head, file.get()) != sizeof head) {
        error = path + " cannot be read, or is no image";
        return false;
    }
    std::rewind(file.get());
    std::string reason = "is neither JPEG nor PNG";
    bool read = false;
    if (head[0] == 0xFF && head[1] == 0xD8) {
        read = read_jpeg(file.get(), picture, reason);
    } else if (png_sig_cmp(head, 0, sizeof head) == 0) {
        read = read_png(file.get(), info, picture, reason);
    }
    if (!read) {
        error = path + " " + reason;
    }
    return read;
}
