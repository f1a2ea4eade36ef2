// The onnxruntime back end in a build with sanitizers: opens a bundle twice, checks its golden images, runs batches of
// all sizes from memory of exactly their size, and is refused. Prints what failed; exit 1 then.
//
//   onnxruntime_main BUNDLE LIBONNXRUNTIME
#include <cstdint>
#include <cstdio>
#include <vector>

#include <resnet_engine.h>

namespace {

int failures = 0; // NOLINT: a program's own count

void expect(bool condition, const char *what) {
    if (!condition) {
        std::fprintf(stderr, "not so: %s (last error: %s)\n", what, rne_last_error());
        failures++;
    }
}

void run_batches(rne_engine *engine) {
    const rne_info info = rne_get_info(engine);
    for (std::size_t batch = 1; batch <= info.max_batch; batch++) {
        const std::vector<std::uint8_t> pixels(batch * info.pixels_bytes, std::uint8_t(batch));
        std::vector<float> logits(batch * info.classes);
        std::vector<float> embedding(batch * info.embedding_dim);
        expect(rne_infer(engine, pixels.data(), batch, logits.data(), embedding.data()) == RNE_OK, "a batch runs");
        expect(rne_infer(engine, pixels.data(), batch, nullptr, nullptr) == RNE_OK, "a batch runs without outputs");
    }
}

} // namespace

int main(int count, char **words) {
    if (count != 3) {
        std::fprintf(stderr, "usage: onnxruntime_main BUNDLE LIBONNXRUNTIME\n");
        return 2;
    }
    rne_params params = rne_default_params();
    params.backend = RNE_BACKEND_ONNXRUNTIME;
    params.max_batch = 2;
    // Threads that wait spin, which an emulator pays for.
    params.threads = 1;
    params.precision = "f16";
    params.onnxruntime_library = words[2];
    rne_engine *first = nullptr;
    rne_engine *second = nullptr;
    expect(rne_open(words[1], &params, &first) == RNE_OK, "a bundle opens");
    expect(rne_open(words[1], &params, &second) == RNE_OK, "a bundle opens again");
    if (first != nullptr && second != nullptr) {
        rne_check check{};
        expect(rne_self_check(first, &check) == RNE_OK, "the golden images pass");
        std::printf("executes %s, logits %.1f dB, embedding %.1f dB, %.1f required\n", rne_get_info(first).executes,
                    check.logits_db, check.embedding_db, check.required_db);
        run_batches(first);
        rne_close(first);
        run_batches(second);
        rne_close(second);
    }
    rne_engine *none = nullptr;
    params.onnxruntime_library = "libm.so.6";
    expect(rne_open(words[1], &params, &none) == RNE_BACKEND && none == nullptr, "another library is refused");
    return failures == 0 ? 0 : 1;
}
