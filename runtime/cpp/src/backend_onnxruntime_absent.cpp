// Stands for the onnxruntime back end where it was not built in.
#include "backend.h"
#include "status.h"

namespace rne {

std::unique_ptr<Backend> open_onnxruntime(const Bundle & /*bundle*/, const BackendOptions & /*options*/) {
    throw Error(RNE_UNSUPPORTED, "this library was built without onnxruntime: configure it with -DRNE_ONNXRUNTIME=ON "
                                 "and -DOnnxRuntime_INCLUDE_DIR=, the folder of onnxruntime_c_api.h");
}

} // namespace rne
