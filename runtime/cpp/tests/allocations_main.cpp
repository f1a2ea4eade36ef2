// Counts what the library allocates while it preprocesses and infers, and prints the counts by name.
//
//   allocations_main BUNDLE
//
// malloc and its relatives are this program's own, so every allocation of the process goes through them, `operator new`
// of libstdc++ included. Counted is what the calling thread allocates inside a call:
//   preprocess  everything: nothing but the library runs there;
//   infer       what is allocated from within libresnet_engine, that is where the nearest frame above the allocator and
//               libstdc++ lies in it. OpenVINO allocates for itself inside its own infer(), which is not ours to
//               forbid.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include <dlfcn.h>
#include <execinfo.h>

#include <resnet_engine.h>

extern "C" {
void *__libc_malloc(std::size_t bytes);
void *__libc_calloc(std::size_t count, std::size_t bytes);
void *__libc_realloc(void *at, std::size_t bytes);
void *__libc_memalign(std::size_t alignment, std::size_t bytes);
}

namespace {

enum class Counted { nothing, everything, library };

thread_local Counted counted = Counted::nothing; // NOLINT: the allocator has no other place for it
thread_local std::size_t found = 0;              // NOLINT

bool lies_in(void *address, const char *name) {
    Dl_info info{};
    return dladdr(address, &info) != 0 && info.dli_fname != nullptr && std::strstr(info.dli_fname, name) != nullptr;
}

// Whether the library asked, by itself or through libstdc++'s code.
bool library_asks() {
    void *frames[16];
    const int count = backtrace(frames, 16);
    for (int i = 0; i < count; i++) {
        const bool allocator = lies_in(frames[i], "allocations_main") || lies_in(frames[i], "libstdc++");
        if (!allocator) {
            return lies_in(frames[i], "libresnet_engine");
        }
    }
    return false;
}

void note() {
    if (counted == Counted::nothing) {
        return;
    }
    const Counted kind = counted;
    counted = Counted::nothing; // backtrace() and dladdr() may allocate
    if (kind == Counted::everything || library_asks()) {
        found++;
    }
    counted = kind;
}

template <typename Work> std::size_t count(Counted kind, Work work) {
    found = 0;
    counted = kind;
    work();
    counted = Counted::nothing;
    return found;
}

} // namespace

extern "C" {
void *malloc(std::size_t bytes) noexcept {
    note();
    return __libc_malloc(bytes);
}
void *calloc(std::size_t number, std::size_t bytes) noexcept {
    note();
    return __libc_calloc(number, bytes);
}
void *realloc(void *at, std::size_t bytes) noexcept {
    note();
    return __libc_realloc(at, bytes);
}
void *aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
    note();
    return __libc_memalign(alignment, bytes);
}
int posix_memalign(void **at, std::size_t alignment, std::size_t bytes) noexcept {
    note();
    *at = __libc_memalign(alignment, bytes);
    return *at == nullptr ? 12 : 0;
}
}

namespace {

void report(rne_engine *engine) {
    const rne_info info = rne_get_info(engine);
    std::vector<std::uint8_t> data(std::size_t{300} * 200 * 3, 7);
    std::vector<std::uint8_t> pixels(info.pixels_bytes * info.max_batch);
    std::vector<float> logits(info.classes * info.max_batch);
    std::vector<float> embedding(info.embedding_dim * info.max_batch);
    const auto preprocess = [&](std::size_t width, std::size_t height, rne_pixel_format format) {
        const std::size_t channels = format == RNE_GREY ? 1 : 3;
        const rne_image image{data.data(), width, height, width * channels, format};
        return rne_preprocess(engine, &image, pixels.data());
    };
    bool fine = preprocess(300, 200, RNE_RGB) == RNE_OK && preprocess(200, 300, RNE_RGB) == RNE_OK;
    const std::size_t preprocessing = count(Counted::everything, [&] {
        for (std::size_t side = 200; side > 20; side -= 20) {
            fine = preprocess(side + 100, side, RNE_RGB) == RNE_OK && fine;
            fine = preprocess(side, side + 100, RNE_GREY) == RNE_OK && fine;
        }
    });
    const auto infer = [&](std::size_t batch, float *wanted) {
        fine = rne_infer(engine, pixels.data(), batch, logits.data(), wanted) == RNE_OK && fine;
    };
    infer(info.max_batch, embedding.data());
    const std::size_t inference = count(Counted::library, [&] {
        for (int i = 0; i < 5; i++) {
            infer(info.max_batch, embedding.data());
        }
    });
    // Other memory and another batch: the library hands OpenVINO new tensors over them.
    const std::size_t elsewhere = count(Counted::library, [&] {
        infer(1, embedding.data());
        infer(info.max_batch, nullptr);
    });
    infer(info.max_batch, embedding.data());
    const std::size_t with_openvino = count(Counted::everything, [&] { infer(info.max_batch, embedding.data()); });
    // Proof that the count counts: the library's own message of a refusal is longer than a string holds by itself.
    const std::size_t control = count(Counted::library, [&] { rne_infer(engine, nullptr, 1, nullptr, nullptr); });
    std::printf("preprocess %zu\ninfer %zu\nelsewhere %zu\nwith_openvino %zu\ncontrol %zu\n", preprocessing, inference,
                elsewhere, with_openvino, fine ? control : 0);
}

} // namespace

int main(int count, char **words) {
    rne_params params = rne_default_params();
    params.max_batch = 2;
    params.threads = 1;
    rne_engine *engine = nullptr;
    if (count != 2 || rne_open(words[1], &params, &engine) != RNE_OK) {
        std::fprintf(stderr, "usage: allocations_main BUNDLE\n%s\n", rne_last_error());
        return 2;
    }
    void *frames[4];
    backtrace(frames, 4); // loads libgcc
    report(engine);
    rne_close(engine);
    return 0;
}
