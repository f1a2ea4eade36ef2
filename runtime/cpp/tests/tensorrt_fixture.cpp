#include "tensorrt_fixture.h"

#include <cstring>

std::map<std::string, Test> &tests() {
    static std::map<std::string, Test> all;
    return all;
}

std::string &library_folder() {
    static std::string folder;
    return folder;
}

std::string network(int min_batch, int max_batch) {
    return "profile " + std::to_string(min_batch) + " " + std::to_string(max_batch) +
           "\nscratch 1000\ninput pixels 5 -1 2 2 3\noutput logits 0 -1 10\noutput embedding 0 -1 4\n";
}

Bundle make_bundle(const std::string &network_text) {
    Bundle bundle;
    bundle.path = "/some/bundle";
    bundle.manifest.precision = "int8-fp16";
    bundle.manifest.input_name = "pixels";
    bundle.manifest.input_dtype = "uint8";
    bundle.manifest.logits_name = "logits";
    bundle.manifest.embedding_name = "embedding";
    bundle.manifest.model_sha256 = std::string(64, 'a');
    bundle.manifest.classes = classes;
    bundle.manifest.embedding_dim = embedding_dim;
    bundle.manifest.resize.image_height = 2;
    bundle.manifest.resize.image_width = 2;
    bundle.manifest.mean = {0.5F, 0.5F, 0.5F};
    bundle.manifest.std = {0.5F, 0.5F, 0.5F};
    std::string plan = "ftrt";
    plan += std::string(20, '\0');
    plan += {NV_TENSORRT_MAJOR, 16, 1, 11};
    plan += network_text;
    bundle.plan.assign(plan.begin(), plan.end());
    bundle.sidecar.tensorrt = std::to_string(NV_TENSORRT_MAJOR) + ".16.1.11";
    bundle.sidecar.gpu = "NVIDIA A100 80GB PCIe";
    bundle.sidecar.compute_capability = "8.0";
    bundle.sidecar.platform = STANDIN_PLATFORM;
    bundle.sidecar.onnx_sha256 = bundle.manifest.model_sha256;
    bundle.sidecar.plan_sha256 = rne::sha256_hex(plan.data(), plan.size());
    bundle.sidecar.plan_bytes = plan.size();
    bundle.sidecar.hardware_compatibility = "none";
    bundle.has_sidecar = true;
    return bundle;
}

BackendOptions make_options(std::size_t max_batch) {
    BackendOptions options;
    options.max_batch = max_batch;
    options.tensorrt_library = library_folder() + "/libnvinfer.so";
    return options;
}

std::unique_ptr<Backend> open(const Bundle &bundle, const BackendOptions &options) {
    return rne::open_tensorrt(bundle, options);
}

Error open_failure(const Bundle &bundle, const BackendOptions &options) {
    return failure([&] { open(bundle, options); });
}

std::vector<std::uint8_t> images(const std::vector<int> &values) {
    std::vector<std::uint8_t> pixels;
    for (const int value : values) {
        pixels.insert(pixels.end(), image_bytes, static_cast<std::uint8_t>(value));
    }
    return pixels;
}

bool right(const float *logits, const float *embedding, const std::vector<int> &values) {
    for (std::size_t n = 0; n < values.size(); n++) {
        // Twelve equal values and the class's number; every fourth number is a multiple of the image's first value.
        for (std::size_t c = 0; c < classes; c++) {
            if (logits[n * classes + c] != static_cast<float>(12 * values[n] + static_cast<int>(c))) {
                return false;
            }
        }
        for (std::size_t d = 0; d < embedding_dim; d++) {
            if (embedding[n * embedding_dim + d] != static_cast<float>(static_cast<int>(d) * values[n])) {
                return false;
            }
        }
    }
    return true;
}

bool infers(Backend &backend, const std::vector<int> &values) {
    const std::vector<std::uint8_t> pixels = images(values);
    std::vector<float> logits(values.size() * classes), embedding(values.size() * embedding_dim);
    backend.infer(pixels.data(), values.size(), logits.data(), embedding.data());
    return right(logits.data(), embedding.data(), values);
}

DeviceBatch::DeviceBatch(const std::vector<int> &given)
    : values(given), pixels(given.size() * image_bytes), logits(given.size() * classes * sizeof(float)),
      embedding(given.size() * embedding_dim * sizeof(float)) {
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    const std::vector<std::uint8_t> source = images(values);
    std::memcpy(pixels.memory, source.data(), source.size());
}

void DeviceBatch::start(Backend &backend) const {
    backend.infer_on_stream(pixels.memory, values.size(), logits.memory, embedding.memory, stream);
}

int main(int argc, char **argv) {
    if (argc != 3 || tests().count(argv[1]) == 0) {
        std::printf("usage: %s TEST FOLDER\n", argv[0]);
        return 2;
    }
    library_folder() = argv[2];
    try {
        tests()[argv[1]]();
    } catch (const Error &error) {
        std::printf("not expected: %s\n", error.what());
        return 1;
    }
    return 0;
}
