#include "backend.h"

#include "status.h"

namespace rne {

void Backend::infer_on_stream(const void * /*input*/, std::size_t /*batch*/, void * /*logits*/, void * /*embedding*/,
                              void * /*stream*/) {
    throw Error(RNE_UNSUPPORTED, std::string(name()) + " takes host memory: call rne_infer()");
}

std::unique_ptr<Backend> open_on_cpu(const Bundle &bundle, const BackendOptions &options) {
#if defined(RNE_WITH_ONNXRUNTIME) && !defined(RNE_WITH_OPENVINO)
    return open_onnxruntime(bundle, options);
#else
    return open_openvino(bundle, options);
#endif
}

std::string describe_precision(const std::string &stored, const std::string &executed) {
    return stored.substr(0, stored.find('-')) == executed ? stored : stored + " weights, " + executed + " execution";
}

std::string built_backends() {
    std::string names;
#ifdef RNE_WITH_OPENVINO
    names += " openvino";
#endif
#ifdef RNE_WITH_ONNXRUNTIME
    names += " onnxruntime";
#endif
#ifdef RNE_WITH_TENSORRT
    names += " tensorrt";
#endif
    return names.empty() ? " none" : names;
}

} // namespace rne
