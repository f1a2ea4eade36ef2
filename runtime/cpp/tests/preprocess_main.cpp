// Preprocesses the images that stand on stdin, for tests/runtime/cpp/test_preprocess.py and
// benchmarks/cpp/preprocess.py.
//
//     preprocess_main best|avx2|sse41|neon|plain|reference [--time RUNS]
//
// A request: width, height, stride_bytes, format, resize height and width, image height and width, bicubic, mode,
// colour as uint32 little endian, the number of bytes that follow as uint64, and those. The answer on stdout: status
// and number of allocations as uint32, number of bytes as uint64, then those: pixels, or the error's message. With
// --time the one request is run RUNS times, and the mean time of a run is printed in nanoseconds instead. Exit 3: the
// processor lacks the instructions.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "preprocess.h"
#include "resample_reference.h"
#include "status.h"

static std::uint32_t allocations = 0;

void *operator new(std::size_t bytes) {
    allocations++;
    void *memory = std::malloc(bytes == 0 ? 1 : bytes);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }

namespace {

struct Request {
    rne_resize resize;
    rne_image image;
    // Exactly as many bytes as the image needs, so that an address sanitizer sees a read beyond them.
    std::unique_ptr<std::uint8_t[]> bytes;
};

bool read_exactly(void *to, std::size_t count) { return std::fread(to, 1, count, stdin) == count; }

void write_answer(rne_status status, const void *bytes, std::uint64_t count) {
    const auto code = static_cast<std::uint32_t>(status);
    std::fwrite(&code, sizeof code, 1, stdout);
    std::fwrite(&allocations, sizeof allocations, 1, stdout);
    std::fwrite(&count, sizeof count, 1, stdout);
    std::fwrite(bytes, 1, static_cast<std::size_t>(count), stdout);
}

bool read_request(Request &request) {
    std::uint32_t fields[11];
    std::uint64_t count = 0;
    if (!read_exactly(fields, sizeof fields) || !read_exactly(&count, sizeof count)) {
        return false;
    }
    request.bytes = std::make_unique<std::uint8_t[]>(static_cast<std::size_t>(count));
    request.image = {count == 0 ? nullptr : request.bytes.get(), fields[0], fields[1], fields[2], RNE_RGB};
    std::memcpy(&request.image.format, &fields[3], sizeof request.image.format);
    request.resize = {fields[4], fields[5], fields[6], fields[7], static_cast<std::int32_t>(fields[8]),
                      RNE_SHORT, RNE_RGB};
    std::memcpy(&request.resize.mode, &fields[9], sizeof request.resize.mode);
    std::memcpy(&request.resize.colour, &fields[10], sizeof request.resize.colour);
    return read_exactly(request.bytes.get(), static_cast<std::size_t>(count));
}

bool equal(const rne_resize &a, const rne_resize &b) {
    return a.resize_height == b.resize_height && a.resize_width == b.resize_width && a.image_height == b.image_height &&
           a.image_width == b.image_width && a.bicubic == b.bicubic && a.mode == b.mode && a.colour == b.colour;
}

// One preprocessor for as long as the sizes stay, as in a program that meets images of every size.
class Runner {
public:
    Runner(rne::Instructions instructions, bool reference) : instructions_(instructions), reference_(reference) {}

    void run(const Request &request, std::vector<std::uint8_t> &pixels) {
        if (!reference_ && (preprocessor_ == nullptr || !equal(resize_, request.resize))) {
            preprocessor_ = std::make_unique<rne::Preprocessor>(request.resize, instructions_);
            resize_ = request.resize;
        }
        const std::size_t channels = request.resize.colour == RNE_GREY ? 1 : request.resize.colour == RNE_RGBA ? 4 : 3;
        pixels.resize(request.resize.image_height * request.resize.image_width * channels);
        allocations = 0;
        if (reference_) {
            rne::preprocess_reference(request.resize, request.image, pixels.data());
        } else {
            preprocessor_->run(request.image, pixels.data());
        }
    }

private:
    rne::Instructions instructions_;
    bool reference_;
    rne_resize resize_{};
    std::unique_ptr<rne::Preprocessor> preprocessor_;
};

int answer_all(Runner &runner) {
    Request request;
    std::vector<std::uint8_t> pixels;
    while (read_request(request)) {
        try {
            runner.run(request, pixels);
            write_answer(RNE_OK, pixels.data(), pixels.size());
        } catch (const rne::Error &error) {
            write_answer(error.status(), error.what(), std::strlen(error.what()));
        }
    }
    return 0;
}

int print_time(Runner &runner, long runs) {
    Request request;
    std::vector<std::uint8_t> pixels;
    if (runs < 1 || !read_request(request)) {
        std::fprintf(stderr, "expected RUNS >= 1 and one request on stdin\n");
        return 2;
    }
    runner.run(request, pixels);
    const auto start = std::chrono::steady_clock::now();
    for (long i = 0; i < runs; i++) {
        runner.run(request, pixels);
    }
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    std::printf("%.0f\n", took.count() / static_cast<double>(runs));
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    const std::string name = argc > 1 ? argv[1] : "";
    const bool reference = name == "reference";
    const rne::Instructions instructions = name == "avx2"    ? rne::Instructions::avx2
                                           : name == "sse41" ? rne::Instructions::sse41
                                           : name == "neon"  ? rne::Instructions::neon
                                           : name == "plain" ? rne::Instructions::plain
                                                             : rne::Instructions::best;
    if (rne::kernels_for(instructions) == nullptr) {
        std::fprintf(stderr, "this processor has no %s\n", name.c_str());
        return 3;
    }
    Runner runner(instructions, reference);
    if (argc == 4 && std::strcmp(argv[2], "--time") == 0) {
        return print_time(runner, std::strtol(argv[3], nullptr, 10));
    }
    return answer_all(runner);
}
