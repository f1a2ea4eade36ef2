#include "onnxruntime_library.h"

#include <dlfcn.h>
#include <vector>

#include "status.h"

// The Python runtime's lower bound too; everything that is called here is older.
static_assert(ORT_API_VERSION >= 20, "onnxruntime's header must be of 1.20 or later");

namespace rne {
namespace {

std::string headers_version() { return "1." + std::to_string(ORT_API_VERSION); }

// The names that onnxruntime's releases, Debian and a build of one's own give the library.
std::vector<std::string> usual_names() {
    return {"libonnxruntime.so.1", "libonnxruntime.so." + headers_version(), "libonnxruntime.so"};
}

// Never closed again: the library has threads and static objects that outlive its last session.
void *open_library(const std::vector<std::string> &names) {
    std::string reason;
    for (const std::string &name : names) {
        void *library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library != nullptr) {
            return library;
        }
        const char *said = dlerror();
        if (reason.empty()) {
            reason = said == nullptr ? "no reason given" : said;
        }
    }
    throw Error(RNE_BACKEND, "onnxruntime cannot be loaded (" + reason + "): install onnxruntime " + headers_version() +
                                 " or later, and name libonnxruntime in rne_params.onnxruntime_library or its folder "
                                 "in LD_LIBRARY_PATH");
}

} // namespace

OnnxRuntimeLibrary::OnnxRuntimeLibrary(const std::string &path) {
    void *library = open_library(path.empty() ? usual_names() : std::vector<std::string>{path});
    const auto get_base = reinterpret_cast<const OrtApiBase *(*)()>(dlsym(library, "OrtGetApiBase"));
    if (get_base == nullptr) {
        throw Error(RNE_BACKEND, (path.empty() ? "libonnxruntime" : path) +
                                     " is not onnxruntime's library: it lacks OrtGetApiBase; check "
                                     "rne_params.onnxruntime_library");
    }
    version_ = get_base()->GetVersionString();
    api_ = get_base()->GetApi(ORT_API_VERSION);
    if (api_ == nullptr) {
        throw Error(RNE_BACKEND, "libonnxruntime is of " + version_ + ", this library was built for onnxruntime " +
                                     headers_version() +
                                     " or later: install that, or build this library with the header of the one that "
                                     "is installed");
    }
}

void OnnxRuntimeLibrary::check(OrtStatus *status, const std::string &what) const {
    if (status == nullptr) {
        return;
    }
    const Owned<OrtStatus> owned(status, api_->ReleaseStatus);
    throw Error(RNE_BACKEND, "onnxruntime " + version_ + " cannot " + what + ": " + api_->GetErrorMessage(status));
}

} // namespace rne
