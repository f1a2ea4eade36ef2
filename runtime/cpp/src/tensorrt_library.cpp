#include "tensorrt_library.h"

#include <dlfcn.h>

#include "status.h"

#ifdef RNE_WITH_TENSORRT_RTX
static_assert(NV_TENSORRT_MAJOR == 1 && NV_TENSORRT_MINOR >= 7, "TensorRT for RTX's headers must be of 1.7 or later");
#else
// JetPack 6.1 and newer boards have 10.3.
static_assert(NV_TENSORRT_MAJOR > 10 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR >= 3),
              "TensorRT's headers must be of 10.3 or later");
#endif

namespace rne {
namespace {

#ifdef RNE_WITH_TENSORRT_RTX
constexpr char library_name[] = "libtensorrt_rtx";
constexpr int lowest_minor = 7;
#else
constexpr char library_name[] = "libnvinfer";
constexpr int lowest_minor = NV_TENSORRT_MAJOR == 10 ? 3 : 0;
#endif

std::string label() { return own_library.label; }

std::string headers_major() { return std::to_string(NV_TENSORRT_MAJOR); }

// What getInferLibVersion() returns: up to 9 it was major * 1000 + minor * 100 + patch.
TensorRtVersion split_version(int number) {
    if (number < 10000) {
        return {number / 1000, number % 1000 / 100, number % 100, 0};
    }
    return {number / 10000, number % 10000 / 100, number % 100, 0};
}

void check_version(const TensorRtVersion &version, const std::string &name) {
    if (version.major != NV_TENSORRT_MAJOR || version.minor < lowest_minor) {
        const std::string lowest =
            lowest_minor == 0 ? "" : headers_major() + "." + std::to_string(lowest_minor) + " to ";
        throw Error(RNE_BACKEND, name + " is " + label() + " " + to_string(version) + ", this library was built for " +
                                     label() + " " + lowest + headers_major() + ".x" +
                                     ": install that, or build this library with the headers of the one that is "
                                     "installed");
    }
}

#ifndef RNE_TENSORRT_LINKED
// Never closed again: the library has threads and static objects that outlive its last engine.
void *open_library(const std::string &name) {
    void *library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char *reason = dlerror();
        throw Error(RNE_BACKEND, label() + " cannot be loaded (" +
                                     std::string(reason == nullptr ? "no reason given" : reason) + "): install " +
                                     label() + " " + headers_major() + ", and name " + library_name +
                                     " in rne_params.tensorrt_library or its folder in LD_LIBRARY_PATH");
    }
    return library;
}

template <typename Function> Function find_symbol(void *library, const char *symbol) {
    return reinterpret_cast<Function>(dlsym(library, symbol));
}
#endif

} // namespace

#ifdef RNE_TENSORRT_LINKED

TensorRtLibrary::TensorRtLibrary(const std::string &) {
    version_ = split_version(getInferLibVersion());
    check_version(version_, library_name);
    create_runtime_ = createInferRuntime_INTERNAL;
}

#else

TensorRtLibrary::TensorRtLibrary(const std::string &path) {
    const std::string name = path.empty() ? std::string(library_name) + ".so." + headers_major() : path;
    void *library = open_library(name);
    const auto get_version = find_symbol<std::int32_t (*)()>(library, "getInferLibVersion");
    create_runtime_ = find_symbol<CreateRuntime>(library, "createInferRuntime_INTERNAL");
    if (get_version == nullptr || create_runtime_ == nullptr) {
        throw Error(RNE_BACKEND, name + " is not " + label() + "'s " + library_name +
                                     ": it lacks getInferLibVersion or createInferRuntime_INTERNAL; check "
                                     "rne_params.tensorrt_library");
    }
    version_ = split_version(get_version());
    // Before anything else is called.
    check_version(version_, name);
    // Only for messages, and not in every version.
    const auto get_build = find_symbol<std::int32_t (*)()>(library, "getInferLibBuildVersion");
    version_.build = get_build == nullptr ? 0 : get_build();
}

#endif

std::unique_ptr<nvinfer1::IRuntime> TensorRtLibrary::create_runtime(TensorRtLog &log) const {
    nvinfer1::ILogger *logger = &log;
    std::unique_ptr<nvinfer1::IRuntime> runtime(
        static_cast<nvinfer1::IRuntime *>(create_runtime_(logger, NV_TENSORRT_VERSION)));
    if (!runtime) {
        throw Error(RNE_BACKEND, label() + " " + to_string(version_) + " does not start (" + log.take_errors() +
                                     "): check `nvidia-smi`, and that the driver is new enough for this " + label());
    }
    return runtime;
}

} // namespace rne
