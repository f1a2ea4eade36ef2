// Prints what the C++ checks say of a bundle's plan on some machine: "STATUS SENTENCE", or "0 ".
//
//     plan_check ENGINE BUNDLE TENSORRT GPU COMPUTE_CAPABILITY PLATFORM
#include <cstdio>
#include <string>

#include "plan_check.h"
#include "status.h"

int main(int argc, char **argv) {
    if (argc != 7) {
        std::printf("usage: %s ENGINE BUNDLE TENSORRT GPU COMPUTE_CAPABILITY PLATFORM\n", argv[0]);
        return 2;
    }
    try {
        const bool rtx = std::string(argv[1]) == rne::rtx_library.engine;
        const rne::Bundle bundle = rne::read_bundle(argv[2], false, rtx ? rne::rtx_library : rne::tensorrt_library);
        rne::check_plan(bundle, {rne::parse_version(argv[3]), argv[4], argv[5], argv[6]});
    } catch (const rne::Error &error) {
        std::printf("%d %s", error.status(), error.what());
        return 0;
    }
    std::printf("0 ");
    return 0;
}
