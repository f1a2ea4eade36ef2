// Stands for the OpenVINO back end where it was not built in.
#include "backend.h"
#include "status.h"

namespace rne {

std::unique_ptr<Backend> open_openvino(const Bundle & /*bundle*/, const BackendOptions & /*options*/) {
    throw Error(RNE_UNSUPPORTED, "this library was built without OpenVINO: configure it with -DRNE_OPENVINO=ON and "
                                 "-DOpenVINO_DIR=, the folder `cmake` of the openvino Python package");
}

} // namespace rne
