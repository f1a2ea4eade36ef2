// CUDA's runtime with every status checked and every resource owned.
#pragma once

#include <cstddef>
#include <cuda_runtime_api.h>
#include <string>
#include <utility>

#include "status.h"

namespace rne {

inline rne_status cuda_status(cudaError_t code) {
    switch (code) {
    case cudaErrorMemoryAllocation:
        return RNE_OUT_OF_MEMORY;
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorDevicesUnavailable:
        return RNE_DEVICE;
    default:
        return RNE_BACKEND;
    }
}

// "CUDA error 2, out of memory".
inline std::string cuda_text(cudaError_t code) {
    return "CUDA error " + std::to_string(static_cast<int>(code)) + ", " + cudaGetErrorString(code);
}

inline void check_cuda(cudaError_t code) {
    if (code == cudaSuccess) {
        return;
    }
    // CUDA keeps the last error until it is read: the caller's own program should not find ours.
    cudaGetLastError();
    const char *advice = code == cudaErrorMemoryAllocation
                             ? ": free GPU memory (`nvidia-smi` shows who holds it), or open with a smaller max_batch"
                             : "";
    throw Error(cuda_status(code), cuda_text(code) + advice);
}

// Owns what CUDA made. What freeing it returns is dropped: it repeats an earlier failure.
template <typename Handle, cudaError_t (*Free)(Handle)> class CudaOwner {
public:
    CudaOwner() = default;
    explicit CudaOwner(Handle handle) : handle_(handle) {}
    CudaOwner(CudaOwner &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    CudaOwner &operator=(CudaOwner &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~CudaOwner() {
        if (handle_ != nullptr && Free(handle_) != cudaSuccess) {
            cudaGetLastError();
        }
    }

    Handle get() const { return handle_; }
    explicit operator bool() const { return handle_ != nullptr; }

private:
    Handle handle_ = nullptr;
};

using CudaStream = CudaOwner<cudaStream_t, cudaStreamDestroy>;
using CudaEvent = CudaOwner<cudaEvent_t, cudaEventDestroy>;
using CudaGraph = CudaOwner<cudaGraph_t, cudaGraphDestroy>;
using CudaGraphExec = CudaOwner<cudaGraphExec_t, cudaGraphExecDestroy>;
using DeviceBuffer = CudaOwner<void *, cudaFree>;
using PinnedBuffer = CudaOwner<void *, cudaFreeHost>;

// A stream that does not wait for the default stream.
inline CudaStream make_stream() {
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return CudaStream(stream);
}

inline CudaEvent make_event() {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return CudaEvent(event);
}

inline DeviceBuffer make_device_buffer(std::size_t bytes) {
    void *memory = nullptr;
    check_cuda(cudaMalloc(&memory, bytes));
    return DeviceBuffer(memory);
}

inline PinnedBuffer make_pinned_buffer(std::size_t bytes) {
    void *memory = nullptr;
    check_cuda(cudaMallocHost(&memory, bytes));
    return PinnedBuffer(memory);
}

// Makes a GPU the thread's current one, and gives the caller's back.
class DeviceGuard {
public:
    explicit DeviceGuard(int device) : device_(device), before_(device) {
        check_cuda(cudaGetDevice(&before_));
        if (before_ != device_) {
            check_cuda(cudaSetDevice(device_));
        }
    }
    DeviceGuard(const DeviceGuard &) = delete;
    DeviceGuard &operator=(const DeviceGuard &) = delete;
    ~DeviceGuard() {
        if (before_ != device_ && cudaSetDevice(before_) != cudaSuccess) {
            cudaGetLastError();
        }
    }

private:
    int device_;
    int before_;
};

} // namespace rne
