// embed BUNDLE FOLDER OUT.npy: the embedding of every JPEG and PNG under a folder, sorted by path.
//
// OUT.npy is (images, embedding_dim) float32, OUT.npy.txt has the pictures' paths, one a line. A picture that cannot be
// read stops it: nothing is written then.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <resnet_engine.h>

#include "image_file.h"

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kBatch = 8;

struct Closer {
    void operator()(std::FILE *file) const { std::fclose(file); }
    void operator()(rne_engine *engine) const { rne_close(engine); }
};

// `error` is set where a folder cannot be read.
std::vector<fs::path> find_pictures(const fs::path &folder, std::error_code &error) {
    std::vector<fs::path> found;
    for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
        std::string suffix = at->path().extension().string();
        std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
        std::error_code unknown;
        if (at->is_regular_file(unknown) && (suffix == ".jpg" || suffix == ".jpeg" || suffix == ".png")) {
            found.push_back(at->path());
        }
    }
    std::sort(found.begin(), found.end());
    return found;
}

// Version 1.0 of NumPy's format: magic, length of the header, header padded so that the values begin at a multiple
// of 64.
bool write_npy(const std::string &path, const std::vector<float> &values, std::size_t rows, std::size_t columns) {
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                         std::to_string(columns) + "), }";
    header.append(63 - (10 + header.size()) % 64, ' ');
    header += '\n';
    const unsigned char head[10] = {0x93,
                                    'N',
                                    'U',
                                    'M',
                                    'P',
                                    'Y',
                                    1,
                                    0,
                                    static_cast<unsigned char>(header.size() & 255),
                                    static_cast<unsigned char>(header.size() >> 8)};
    const std::string partial = path + ".partial";
    {
        const std::unique_ptr<std::FILE, Closer> file(std::fopen(partial.c_str(), "wb"));
        if (!file || std::fwrite(head, 1, sizeof head, file.get()) != sizeof head ||
            std::fwrite(header.data(), 1, header.size(), file.get()) != header.size() ||
            std::fwrite(values.data(), sizeof(float), values.size(), file.get()) != values.size() ||
            std::fflush(file.get()) != 0) {
            return false;
        }
    }
    return std::rename(partial.c_str(), path.c_str()) == 0;
}

bool write_names(const std::string &path, const std::vector<fs::path> &names) {
    const std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "wb"));
    bool written = file != nullptr;
    for (const fs::path &name : names) {
        written = written && std::fprintf(file.get(), "%s\n", name.string().c_str()) > 0;
    }
    return written && std::fflush(file.get()) == 0;
}

// The embeddings of all pictures; empty on failure, which is told.
std::vector<float> embed(rne_engine *engine, const std::vector<fs::path> &pictures) {
    const rne_info info = rne_get_info(engine);
    std::vector<float> found(pictures.size() * info.embedding_dim);
    std::vector<std::uint8_t> pixels(info.max_batch * info.pixels_bytes);
    for (std::size_t done = 0; done < pictures.size(); done += info.max_batch) {
        const std::size_t batch = std::min(info.max_batch, pictures.size() - done);
        for (std::size_t i = 0; i < batch; i++) {
            Picture picture;
            std::string error;
            if (!read_picture(pictures[done + i].string(), info, picture, error)) {
                std::fprintf(stderr, "error: %s\n", error.c_str());
                return {};
            }
            const rne_image image = picture.view();
            if (rne_preprocess(engine, &image, pixels.data() + i * info.pixels_bytes) != RNE_OK) {
                std::fprintf(stderr, "error: %s: %s\n", pictures[done + i].string().c_str(), rne_last_error());
                return {};
            }
        }
        if (rne_infer(engine, pixels.data(), batch, nullptr, found.data() + done * info.embedding_dim) != RNE_OK) {
            std::fprintf(stderr, "error: %s\n", rne_last_error());
            return {};
        }
    }
    return found;
}

} // namespace

int main(int count, char **words) {
    if (count != 4) {
        std::fprintf(stderr, "usage: embed BUNDLE FOLDER OUT.npy\n");
        return 2;
    }
    rne_params params = rne_default_params();
    params.max_batch = kBatch;
    rne_engine *opened = nullptr;
    if (rne_open(words[1], &params, &opened) != RNE_OK) {
        std::fprintf(stderr, "error: %s\n", rne_last_error());
        return 1;
    }
    const std::unique_ptr<rne_engine, Closer> engine(opened);
    std::error_code error;
    if (!fs::is_directory(words[2], error)) {
        std::fprintf(stderr, "error: %s is not a directory: expected one with JPEG or PNG files\n", words[2]);
        return 1;
    }
    const std::vector<fs::path> pictures = find_pictures(words[2], error);
    if (error) {
        std::fprintf(stderr, "error: %s cannot be searched: %s\n", words[2], error.message().c_str());
        return 1;
    }
    if (pictures.empty()) {
        std::fprintf(stderr, "error: %s has no JPEG or PNG file\n", words[2]);
        return 1;
    }
    const std::vector<float> found = embed(engine.get(), pictures);
    const rne_info info = rne_get_info(engine.get());
    if (found.empty()) {
        return 1;
    }
    if (!write_npy(words[3], found, pictures.size(), info.embedding_dim) ||
        !write_names(std::string(words[3]) + ".txt", pictures)) {
        std::fprintf(stderr, "error: %s cannot be written\n", words[3]);
        return 1;
    }
    std::printf("%zu embeddings of %zu values in %s; licence of the weights: %s\n", pictures.size(), info.embedding_dim,
                words[3], info.licence);
    return 0;
}
