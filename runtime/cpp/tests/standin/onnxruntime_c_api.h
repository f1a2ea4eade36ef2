// The part of onnxruntime's C interface that this project uses, with onnxruntime's names, values and places in its
// table of functions. For tests where its own header is not; they run it with onnxruntime's own library.
// tests/runtime/cpp/test_onnxruntime.py compares it with the header where that is there.
#pragma once

#include <cstddef>
#include <cstdint>

#define ORT_API_VERSION 20

extern "C" {

struct OrtStatus;
struct OrtEnv;
struct OrtSession;
struct OrtSessionOptions;
struct OrtRunOptions;
struct OrtMemoryInfo;
struct OrtValue;
struct OrtAllocator;

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_FATAL = 4 };
enum ONNXTensorElementDataType { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 = 2 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };

using OrtUnused = void (*)();

// The number of an array is the place of its first function.
struct OrtApi {
    OrtUnused unused_0[2];
    const char *(*GetErrorMessage)(const OrtStatus *);
    OrtStatus *(*CreateEnv)(OrtLoggingLevel, const char *, OrtEnv **);
    OrtUnused unused_4[2];
    OrtStatus *(*DisableTelemetryEvents)(const OrtEnv *);
    OrtUnused unused_7[1];
    OrtStatus *(*CreateSessionFromArray)(const OrtEnv *, const void *, std::size_t, const OrtSessionOptions *,
                                         OrtSession **);
    OrtStatus *(*Run)(OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *, std::size_t,
                      const char *const *, std::size_t, OrtValue **);
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **);
    OrtUnused unused_11[3];
    OrtStatus *(*EnableProfiling)(OrtSessionOptions *, const char *);
    OrtUnused unused_15[9];
    OrtStatus *(*SetIntraOpNumThreads)(OrtSessionOptions *, int);
    OrtUnused unused_25[24];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *, std::size_t, const std::int64_t *,
                                                 std::size_t, ONNXTensorElementDataType, OrtValue **);
    OrtUnused unused_50[19];
    OrtStatus *(*CreateCpuMemoryInfo)(OrtAllocatorType, OrtMemType, OrtMemoryInfo **);
    OrtUnused unused_70[6];
    OrtStatus *(*AllocatorFree)(OrtAllocator *, void *);
    OrtUnused unused_77[1];
    OrtStatus *(*GetAllocatorWithDefaultOptions)(OrtAllocator **);
    OrtUnused unused_79[13];
    void (*ReleaseEnv)(OrtEnv *);
    void (*ReleaseStatus)(OrtStatus *);
    void (*ReleaseMemoryInfo)(OrtMemoryInfo *);
    void (*ReleaseSession)(OrtSession *);
    void (*ReleaseValue)(OrtValue *);
    OrtUnused unused_97[3];
    void (*ReleaseSessionOptions)(OrtSessionOptions *);
    OrtUnused unused_101[9];
    OrtStatus *(*SessionEndProfiling)(OrtSession *, OrtAllocator *, char **);
    OrtUnused unused_111[19];
    OrtStatus *(*AddSessionConfigEntry)(OrtSessionOptions *, const char *, const char *);
};

struct OrtApiBase {
    const OrtApi *(*GetApi)(std::uint32_t version);
    const char *(*GetVersionString)();
};
}
