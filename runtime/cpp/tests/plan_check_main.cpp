// Prints what the C++ checks say of a bundle's plan on some machine: "STATUS SENTENCE", or "0 ".
//
//     plan_check BUNDLE TENSORRT GPU COMPUTE_CAPABILITY PLATFORM
#include <cstdio>

#include "plan_check.h"
#include "status.h"

int main(int argc, char **argv) {
    if (argc != 6) {
        std::printf("usage: %s BUNDLE TENSORRT GPU COMPUTE_CAPABILITY PLATFORM\n", argv[0]);
        return 2;
    }
    try {
        const rne::Bundle bundle = rne::read_bundle(argv[1], false);
        rne::check_plan(bundle, {rne::parse_version(argv[2]), argv[3], argv[4], argv[5]});
    } catch (const rne::Error &error) {
        std::printf("%d %s", error.status(), error.what());
        return 0;
    }
    std::printf("0 ");
    return 0;
}
