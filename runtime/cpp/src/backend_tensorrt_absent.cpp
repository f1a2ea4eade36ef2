// Where the library is built without TensorRT.
#include <string>

#include "backend.h"
#include "status.h"

namespace rne {
namespace {

// Which library is missing for a bundle's plan.
std::string absent(const Bundle &bundle) {
    const PlanLibrary &wanted = bundle.plan.empty() && bundle.has_other_plan ? rtx_library : tensorrt_library;
    return std::string("this library was built without ") + wanted.label + ": configure it with " + wanted.cmake +
           " and -DTensorRT_INCLUDE_DIR=...";
}

} // namespace

std::unique_ptr<Backend> open_tensorrt(const Bundle &bundle, const BackendOptions &) {
    throw Error(RNE_UNSUPPORTED, absent(bundle));
}

bool tensorrt_fits(const Bundle &bundle, const BackendOptions &, std::string &reason) {
    reason = absent(bundle);
    return false;
}

} // namespace rne
