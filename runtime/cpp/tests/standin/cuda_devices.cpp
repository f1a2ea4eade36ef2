// Devices and errors of the stand-in of CUDA; see standin.h.
#include <cstring>

#include "standin.h"

using standin::machine;

namespace standin {

cudaError_t status(const char *function) {
    const auto failing = machine().failing.find(function);
    if (failing == machine().failing.end()) {
        return cudaSuccess;
    }
    machine().last_error = failing->second;
    return failing->second;
}

} // namespace standin

extern "C" {

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInsufficientDriver:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorIllegalAddress:
        return "an illegal memory access was encountered";
    default:
        return "an error";
    }
}

cudaError_t cudaGetLastError() {
    const cudaError_t code = machine().last_error;
    machine().last_error = cudaSuccess;
    return code;
}

cudaError_t cudaDriverGetVersion(int *version) {
    STANDIN_CALL("cudaDriverGetVersion")
    *version = machine().driver;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    STANDIN_CALL("cudaGetDeviceCount")
    *count = machine().devices;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
    STANDIN_CALL("cudaGetDevice")
    *device = machine().device;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    STANDIN_CALL("cudaSetDevice")
    machine().device = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int) {
    STANDIN_CALL("cudaGetDeviceProperties")
    std::strncpy(properties->name, machine().gpu.c_str(), sizeof(properties->name) - 1);
    properties->major = machine().capability_major;
    properties->minor = machine().capability_minor;
    return cudaSuccess;
}

} // extern "C"
