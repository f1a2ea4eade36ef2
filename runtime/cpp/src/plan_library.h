// TensorRT and TensorRT for RTX: two libraries of NVIDIA's with one interface, and what their plans are named.
//
// The table of runtime/engines/trt/library.py. This library is compiled for one of the two, RNE_TENSORRT_RTX.
#pragma once

namespace rne {

struct PlanLibrary {
    const char *label;
    const char *tag;     // the first four bytes of a plan
    const char *plan;    // its name in a bundle
    const char *sidecar; // that of its description
    const char *engine;  // as the description names it
    const char *option;  // of `run-ssl build BUNDLE`
    const char *where;   // it is built
    const char *cmake;   // the option that builds this library for it
    bool compiles_at_load;
};

inline constexpr PlanLibrary tensorrt_library = {"TensorRT", "ftrt", "model.plan",       "model.plan.json",
                                                 "tensorrt", "",     " on this machine", "-DRNE_TENSORRT=ON",
                                                 false};
inline constexpr PlanLibrary rtx_library = {"TensorRT for RTX",
                                            "vtrt",
                                            "model.rtx.plan",
                                            "model.rtx.plan.json",
                                            "tensorrt-rtx",
                                            " --engine tensorrt-rtx",
                                            "",
                                            "-DRNE_TENSORRT_RTX=ON",
                                            true};

#ifdef RNE_WITH_TENSORRT_RTX
inline constexpr const PlanLibrary &own_library = rtx_library;
#else
inline constexpr const PlanLibrary &own_library = tensorrt_library;
#endif

inline const PlanLibrary &other_library(const PlanLibrary &library) {
    return library.compiles_at_load ? tensorrt_library : rtx_library;
}

} // namespace rne
