# Cross-compilation for 64-bit ARM with Debian's g++-aarch64-linux-gnu:
#
#   cmake -S runtime/cpp -B build-arm64 -DCMAKE_TOOLCHAIN_FILE=$PWD/runtime/cpp/cmake/aarch64-linux-gnu.cmake \
#     -DRNE_ARM64_ROOT=/where/a/Debian/arm64/lies ...
#
# RNE_ARM64_ROOT is the root of the machine that the program will run on, or of one like it: its C library and its
# other libraries are linked with. Without it those of the cross-compiler are: glibc must then be as new on the machine.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# CMake's trial projects read this file again, without the command line.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES RNE_ARM64_ROOT)
if(RNE_ARM64_ROOT)
  set(CMAKE_SYSROOT ${RNE_ARM64_ROOT})
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
# Headers without code, such as nlohmann-json, may be this machine's.
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)
