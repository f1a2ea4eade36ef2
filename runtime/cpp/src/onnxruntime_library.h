// libonnxruntime, opened at run time: a program with this library starts where there is no onnxruntime.
#pragma once

#include <memory>
#include <onnxruntime_c_api.h>
#include <string>

namespace rne {

// An object of onnxruntime's with the function that frees it.
template <typename Object> using Owned = std::unique_ptr<Object, void (*)(Object *)>;

class OnnxRuntimeLibrary {
public:
    // path: "" is libonnxruntime as the loader finds it. Throws RNE_BACKEND where it cannot be loaded, or is older than
    // the header that this library was built with; a newer one has every function of an older header.
    explicit OnnxRuntimeLibrary(const std::string &path);

    const OrtApi *operator->() const { return api_; }
    const std::string &version() const { return version_; }
    // Throws RNE_BACKEND where a call failed: `what` was tried, onnxruntime's words say why.
    void check(OrtStatus *status, const std::string &what) const;

private:
    const OrtApi *api_ = nullptr;
    std::string version_;
};

} // namespace rne
