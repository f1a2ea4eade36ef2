// A machine without a GPU that plays one with TensorRT: what a test sets, and what it then reads.
//
// Memory is the host's. A stream is a list of work that runs only when somebody waits for it, so work that is not
// ordered by an event stays undone, and memory that is read too early holds nothing. The network is arithmetic that can
// be worked out by hand: logits[c] = sum of the image's values + c, embedding[d] = d * the image's first value.
#pragma once

#include <cstddef>
#include <cuda_runtime_api.h>
#include <functional>
#include <map>
#include <string>

namespace standin {

struct Machine {
    int driver = 13000; // 0: there is none
    int devices = 1;
    int device = 0; // the thread's current one
    std::string gpu = "NVIDIA A100 80GB PCIe";
    int capability_major = 8;
    int capability_minor = 0;
    cudaError_t count_error = cudaSuccess;
    cudaError_t last_error = cudaSuccess;

    std::map<std::string, cudaError_t> failing; // the function's name: what it returns from now on
    std::string trt_failure;                    // "runtime", "deserialise", "context", "shape", "address", "enqueue"
    std::string trt_message;                    // what TensorRT then logs as an error

    std::map<std::string, int> calls; // of each function of CUDA's and TensorRT's
    int alive = 0;                    // everything that was made and not yet freed
    bool host_code_allowed = false;
    void *scratch = nullptr;    // of the context that ran last
    void *logger = nullptr;     // of the runtime that was made last; TensorRT may write to it at any time
    bool ran_destroyed = false; // whether work of a context ran after the context was gone
};

Machine &machine();

// Put work at the end of a stream, or into the graph that it records.
void enqueue(cudaStream_t stream, std::function<void()> work);
bool capturing(cudaStream_t stream);

// While one of these exists, memory is allocated by the stand-in, not by the library under test.
class Inside {
public:
    explicit Inside(const char *function) {
        depth()++;
        machine().calls[function]++;
    }
    ~Inside() { depth()--; }
    Inside(const Inside &) = delete;
    Inside &operator=(const Inside &) = delete;
    static int &depth();
};

// What a function of CUDA's returns by the test's wish.
cudaError_t status(const char *function);

} // namespace standin

// What every function does first.
#define STANDIN_CALL(name)                                                                                             \
    const standin::Inside inside(name);                                                                                \
    if (const cudaError_t code = standin::status(name)) {                                                              \
        return code;                                                                                                   \
    }
