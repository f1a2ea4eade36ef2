#include "backend.h"

#include "status.h"

namespace rne {

void Backend::infer_on_stream(const void * /*input*/, std::size_t /*batch*/, void * /*logits*/, void * /*embedding*/,
                              void * /*stream*/) {
    throw Error(RNE_UNSUPPORTED, std::string(name()) + " takes host memory: call rne_infer()");
}

std::string built_backends() {
    std::string names;
#ifdef RNE_WITH_OPENVINO
    names += " openvino";
#endif
#ifdef RNE_WITH_TENSORRT
    names += " tensorrt";
#endif
    return names.empty() ? " none" : names;
}

} // namespace rne
