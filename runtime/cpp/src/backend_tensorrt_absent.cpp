// Where the library is built without TensorRT.
#include "backend.h"
#include "status.h"

namespace rne {
namespace {

constexpr char absent[] = "this library was built without TensorRT: configure it with -DRNE_TENSORRT=ON and "
                          "-DTensorRT_INCLUDE_DIR=...";

} // namespace

std::unique_ptr<Backend> open_tensorrt(const Bundle &, const BackendOptions &) { throw Error(RNE_UNSUPPORTED, absent); }

bool tensorrt_fits(const Bundle &, const BackendOptions &, std::string &reason) {
    reason = absent;
    return false;
}

} // namespace rne
