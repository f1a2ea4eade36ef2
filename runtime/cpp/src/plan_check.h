// Before a plan is loaded: is it whole, and was it built for this network, this library and this GPU?
//
// The checks and sentences of runtime/engines/trt/preflight.py. Nothing here needs TensorRT or CUDA.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bundle.h"

namespace rne {

// The build number differs between packagings of one release.
struct TensorRtVersion {
    int major = 0;
    int minor = 0;
    int patch = 0;
    int build = 0;
};

// "10.16.1.11".
std::string to_string(const TensorRtVersion &version);

// What `10.16.1.11` or `10.3.0.post1` states. Throws RNE_BUNDLE where it does not begin with two numbers.
TensorRtVersion parse_version(const std::string &text);

// A machine that has the library of a bundle's plan, and a GPU.
struct PlanMachine {
    TensorRtVersion tensorrt;
    std::string gpu;                // "NVIDIA A100 80GB PCIe"
    std::string compute_capability; // "8.0"
    std::string platform;           // "linux-x86_64"
};

// Operating system and processor that this library was compiled for, as the Python runtime names them.
std::string current_platform();

// Refuse a bundle without a plan: RNE_BUNDLE.
void require_plan(const Bundle &bundle);

// Refuse a plan that is damaged or of another network (RNE_BUNDLE), or that cannot run on a machine (RNE_DEVICE).
void check_plan(const Bundle &bundle, const PlanMachine &machine);

// The version of a library that wrote a plan; `name` is the file's, for the messages. Throws RNE_BUNDLE.
TensorRtVersion read_plan_header(const std::vector<std::uint8_t> &plan, const std::string &name,
                                 const PlanLibrary &library = own_library);

// The next step where a plan cannot be used, for an error message.
std::string rebuild_command(const Bundle &bundle);

} // namespace rne
