// libnvinfer, opened at run time: a program with this library starts where there is no TensorRT.
#pragma once

#include <NvInferRuntime.h>
#include <cstdint>
#include <memory>
#include <string>

#include "plan_check.h"
#include "tensorrt_log.h"

namespace rne {

// libnvinfer of the headers' major version.
class TensorRtLibrary {
public:
    // path: "" is libnvinfer.so.N as the loader finds it. Throws RNE_BACKEND where it cannot be loaded or is of
    // another major version: its classes have another layout, and every call would crash.
    explicit TensorRtLibrary(const std::string &path);

    const TensorRtVersion &version() const { return version_; }
    // Never null. Only on a machine with a driver and a GPU: elsewhere TensorRT gives an invalid pointer.
    std::unique_ptr<nvinfer1::IRuntime> create_runtime(TensorRtLog &log) const;

private:
    using CreateRuntime = void *(*)(void *logger, std::int32_t version);

    CreateRuntime create_runtime_ = nullptr;
    TensorRtVersion version_;
};

} // namespace rne
