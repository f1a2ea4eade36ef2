// What the tests of the TensorRT back end share: a tiny plan, its bundle, and checks that say where they failed.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "sha256.h"
#include <NvInferRuntime.h>

#include "standin.h"
#include "status.h"

using rne::Backend;
using rne::BackendOptions;
using rne::Bundle;
using rne::Error;

using Test = void (*)();
std::map<std::string, Test> &tests();
// Folder of the stand-in libraries.
std::string &library_folder();
// Allocations by the library under test.
std::size_t &allocations();

struct Register {
    Register(const char *name, Test test) { tests()[name] = test; }
};
#define TEST(name)                                                                                                     \
    static void name();                                                                                                \
    static const Register register_##name(#name, name);                                                                \
    static void name()

#define CHECK(condition)                                                                                               \
    if (!(condition)) {                                                                                                \
        std::printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                    \
        std::exit(1);                                                                                                  \
    }
#define CHECK_TEXT(text, part)                                                                                         \
    if ((text).find(part) == std::string::npos) {                                                                      \
        std::printf("%s:%d: '%s' lacks '%s'\n", __FILE__, __LINE__, (text).c_str(), part);                             \
        std::exit(1);                                                                                                  \
    }

constexpr std::size_t image_bytes = 12; // 2 x 2 pixels of 3 channels
constexpr std::size_t classes = 10;
constexpr std::size_t embedding_dim = 4;

// The stand-in's text of a plan with uint8 pixels.
std::string network(int min_batch, int max_batch);
// A bundle whose plan is whole and made for the stand-in's machine.
Bundle make_bundle(const std::string &network_text);
BackendOptions make_options(std::size_t max_batch = 4);
std::unique_ptr<Backend> open(const Bundle &bundle, const BackendOptions &options = make_options());

// Why opening fails; the test fails where it does not.
Error open_failure(const Bundle &bundle, const BackendOptions &options = make_options());
template <typename Work> Error failure(const Work &work) {
    try {
        work();
    } catch (const Error &error) {
        return error;
    }
    std::printf("nothing failed\n");
    std::exit(1);
}

// Images of one value each, and what the stand-in's network gives for them.
std::vector<std::uint8_t> images(const std::vector<int> &values);
bool right(const float *logits, const float *embedding, const std::vector<int> &values);
// Run a batch and compare.
bool infers(Backend &backend, const std::vector<int> &values);

// Memory on the stand-in's GPU: aligned to 256 bytes, filled with a pattern.
struct Device {
    explicit Device(std::size_t bytes) { cudaMalloc(&memory, bytes); }
    ~Device() { cudaFree(memory); }
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;
    float *floats() const { return static_cast<float *>(memory); }
    void *memory = nullptr;
};

// A batch on the GPU with its outputs and a stream of the caller's.
struct DeviceBatch {
    explicit DeviceBatch(const std::vector<int> &given);
    ~DeviceBatch() { cudaStreamDestroy(stream); }
    DeviceBatch(const DeviceBatch &) = delete;
    DeviceBatch &operator=(const DeviceBatch &) = delete;
    void start(Backend &backend) const;
    bool done() const { return right(logits.floats(), embedding.floats(), values); }

    std::vector<int> values;
    Device pixels;
    Device logits;
    Device embedding;
    cudaStream_t stream = nullptr;
};
