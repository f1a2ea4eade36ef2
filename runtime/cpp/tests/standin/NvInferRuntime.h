// The part of TensorRT's runtime interface that this project uses, with NVIDIA's names, values and signatures. For
// tests without TensorRT; see standin.h. Its classes are purely virtual where NVIDIA's call an implementation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda_runtime_api.h>

// The tests are built once per major version.
#ifndef NV_TENSORRT_MAJOR
#define NV_TENSORRT_MAJOR 10
#endif
#define NV_TENSORRT_MINOR 16
#define NV_TENSORRT_PATCH 1
#define NV_TENSORRT_VERSION (NV_TENSORRT_MAJOR * 10000L + NV_TENSORRT_MINOR * 100L + NV_TENSORRT_PATCH * 1L)

namespace nvinfer1 {

using AsciiChar = char;

class Dims64 {
public:
    static constexpr std::int32_t MAX_DIMS{8};
    std::int32_t nbDims;
    std::int64_t d[MAX_DIMS];
};
using Dims = Dims64;

enum class DataType : std::int32_t { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3, kBOOL = 4, kUINT8 = 5 };
enum class TensorIOMode : std::int32_t { kNONE = 0, kINPUT = 1, kOUTPUT = 2 };
enum class OptProfileSelector : std::int32_t { kMIN = 0, kOPT = 1, kMAX = 2 };
enum class ExecutionContextAllocationStrategy : std::int32_t { kSTATIC = 0, kON_PROFILE_CHANGE = 1, kUSER_MANAGED = 2 };

class ILogger {
public:
    enum class Severity : std::int32_t { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };
    virtual void log(Severity severity, AsciiChar const *msg) noexcept = 0;
    ILogger() = default;
    virtual ~ILogger() = default;
};

class INoCopy {
public:
    virtual ~INoCopy() = default;
    INoCopy(INoCopy const &) = delete;
    INoCopy &operator=(INoCopy const &) = delete;

protected:
    INoCopy() = default;
};

class IExecutionContext : public INoCopy {
public:
    virtual void setDeviceMemoryV2(void *memory, std::int64_t size) noexcept = 0;
    virtual bool setInputShape(char const *tensorName, Dims const &dims) noexcept = 0;
    virtual bool setTensorAddress(char const *tensorName, void *data) noexcept = 0;
    virtual bool setInputTensorAddress(char const *tensorName, void const *data) noexcept = 0;
    virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
};

#ifdef RNE_WITH_TENSORRT_RTX
// Read in NVIDIA's documentation of TensorRT for RTX, whose headers this was not compared with.
enum class DynamicShapesKernelSpecializationStrategy : std::int32_t { kLAZY = 0, kEAGER = 1, kNONE = 2 };

class IRuntimeConfig : public INoCopy {
public:
    virtual void setExecutionContextAllocationStrategy(ExecutionContextAllocationStrategy strategy) noexcept = 0;
    virtual void
    setDynamicShapesKernelSpecializationStrategy(DynamicShapesKernelSpecializationStrategy strategy) noexcept = 0;
};
#endif

class ICudaEngine : public INoCopy {
public:
    virtual Dims getTensorShape(char const *tensorName) const noexcept = 0;
    virtual DataType getTensorDataType(char const *tensorName) const noexcept = 0;
    virtual TensorIOMode getTensorIOMode(char const *tensorName) const noexcept = 0;
    virtual std::int32_t getNbIOTensors() const noexcept = 0;
    virtual char const *getIOTensorName(std::int32_t index) const noexcept = 0;
    virtual Dims getProfileShape(char const *tensorName, std::int32_t profileIndex,
                                 OptProfileSelector select) const noexcept = 0;
    virtual std::int64_t getDeviceMemorySizeV2() const noexcept = 0;
    virtual IExecutionContext *createExecutionContext(
        ExecutionContextAllocationStrategy strategy = ExecutionContextAllocationStrategy::kSTATIC) noexcept = 0;
#ifdef RNE_WITH_TENSORRT_RTX
    virtual IRuntimeConfig *createRuntimeConfig() noexcept = 0;
    virtual IExecutionContext *createExecutionContext(IRuntimeConfig *config) noexcept = 0;
#endif
};

class IRuntime : public INoCopy {
public:
    virtual ICudaEngine *deserializeCudaEngine(void const *blob, std::size_t size) noexcept = 0;
    virtual void setEngineHostCodeAllowed(bool allowed) noexcept = 0;
};

} // namespace nvinfer1

extern "C" {
void *createInferRuntime_INTERNAL(void *logger, std::int32_t version) noexcept;
std::int32_t getInferLibVersion() noexcept;
}
