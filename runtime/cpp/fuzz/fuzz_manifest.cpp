// libFuzzer target: manifest, sidecar and golden files from bytes. Whatever they are, only rne::Error may come out, and
// through the C interface one line of text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "bundle.h"
#include "npy.h"
#include "resnet_engine.h"
#include "status.h"

namespace {

template <typename Work> void allow_error(Work work) {
    try {
        work();
    } catch (const rne::Error &) {
        // The one way out that the library has.
    }
}

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

void open_buffers(const std::uint8_t *data, std::size_t bytes) {
    rne_buffers buffers{};
    buffers.manifest = data;
    buffers.manifest_bytes = bytes;
    buffers.model = "x";
    buffers.model_bytes = 1;
    buffers.labels = data;
    buffers.labels_bytes = bytes;
    rne_params params = rne_default_params();
    params.check_hashes = 0;
    const int backend = bytes == 0 ? 0 : data[bytes - 1] % 8;
    std::memcpy(&params.backend, &backend, sizeof backend);
    rne_engine *engine = nullptr;
    // Nothing runs a model of one byte.
    require(rne_open_buffers(&buffers, &params, &engine) != RNE_OK && engine == nullptr);
    const std::string message = rne_last_error();
    require(!message.empty() && message.find('\n') == std::string::npos);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t bytes) {
    allow_error([&] {
        const rne::Manifest manifest = rne::parse_manifest(data, bytes);
        // What the sizes of every buffer are computed from.
        require(manifest.embedding_dim >= 1 && manifest.resize.image_height >= 1);
        require(manifest.resize.image_height <= manifest.resize.resize_height);
        require(manifest.resize.image_width >= 1 && manifest.resize.image_width <= manifest.resize.resize_width);
        require(manifest.pixels_bytes() / manifest.resize.image_height / manifest.channels() ==
                manifest.resize.image_width);
    });
    allow_error([&] { (void)rne::parse_sidecar(data, bytes); });
    allow_error([&] {
        const auto values = rne::read_npy({data, data + bytes}, "<f4", {2, 3}, "fuzz.npy");
        require(values.size() == 2 * 3 * sizeof(float));
    });
    open_buffers(data, bytes);
    return 0;
}
