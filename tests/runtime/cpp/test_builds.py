"""Other builds of the C library: static, in a project of a user, sanitized, fuzzed, and with allocations counted."""

import os
import subprocess

import pytest

from tests.conftest import crops
from tests.helpers.cpp import fuzz as cpp_fuzz
from tests.helpers.cpp.build import (
    BUILDS,
    SOURCE,
    TOGETHER,
    build_example,
    build_library,
    configure,
    locked,
    openvino_cmake,
    require_tools,
    run,
)
from tests.helpers.tools import require_flags, require_tool

SANITIZERS = "address,undefined,float-cast-overflow"
PROJECT = """cmake_minimum_required(VERSION 3.18)
project(user LANGUAGES C CXX)
find_package(ResnetEngine 0.1 CONFIG REQUIRED)
add_executable(user main.c)
target_link_libraries(user PRIVATE ResnetEngine::resnet_engine)
set_target_properties(user PROPERTIES LINKER_LANGUAGE CXX)
"""
PROGRAM = """#include <stdio.h>
#include <resnet_engine.h>
int main(int count, char **words) {
    rne_engine *engine = NULL;
    if (rne_open(words[count - 1], NULL, &engine) != RNE_OK) {
        fprintf(stderr, "%s\\n", rne_last_error());
        return 1;
    }
    printf("%s\\n", rne_get_info(engine).model);
    rne_close(engine);
    return 0;
}
"""


@pytest.fixture(scope="module")
def static_library():
    require_tools()
    # Not optimised: it is built to be found and linked, and gives the same bytes.
    return build_library("static", BUILD_SHARED_LIBS="OFF", CMAKE_BUILD_TYPE="Debug", **TOGETHER)


def user_project(prefix, folder):
    """Build a C program of a user's against an installed library, and return it."""
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(PROJECT, encoding="utf-8")
    (folder / "main.c").write_text(PROGRAM, encoding="utf-8")
    # A static library asks for OpenVINO, where this environment has it.
    openvino = {"OpenVINO_DIR": os.fspath(openvino_cmake())}
    configure(folder, folder / "build", {"CMAKE_PREFIX_PATH": str(prefix), **openvino})
    return folder / "build/user"


def test_a_c_project_finds_the_shared_and_the_static_library(exported, static_library, tmp_path):
    for name, prefix in (("shared", build_library()), ("static", static_library)):
        program = user_project(prefix, tmp_path / name)
        assert run(str(program), str(exported.fp32)) == "ssl_resnet18\n"


def test_the_static_library_has_no_shared_one_beside_it_and_classify_gives_the_same(exported, static_library, tmp_path):
    assert (static_library / "lib/libresnet_engine.a").is_file()
    assert not list((static_library / "lib").glob("*.so*"))
    openvino = os.fspath(openvino_cmake())
    static = build_example("classify", static_library, OpenVINO_DIR=openvino)
    shared = build_example("classify", build_library())
    crops()[0].save(tmp_path / "picture.png")
    words = (str(exported.fp32), str(tmp_path / "picture.png"))
    assert run(str(static), *words) == run(str(shared), *words)


def test_the_shared_library_shows_nothing_but_its_interface():
    require_tools()
    require_tool("nm", package="binutils")
    lines = run("nm", "-D", "--defined-only", "-C", str(build_library() / "lib/libresnet_engine.so")).splitlines()
    # Weak symbols are templates of the standard library's, instantiated here; they may be anyone's.
    shown = {line.split(maxsplit=2)[2] for line in lines if line.split(maxsplit=2)[1] in "TBDR"}
    header = (SOURCE / "include/resnet_engine.h").read_text(encoding="utf-8")
    declared = {name for name in shown if f" {name}(" in header or f"*{name}(" in header}
    assert shown == declared
    assert len(declared) == header.count("RNE_API rne_") + header.count("RNE_API void rne_") + header.count(
        "RNE_API const char *rne_"
    )


def test_no_sanitizer_finds_anything(exported):
    require_tools()
    require_flags("c++", [f"-fsanitize={SANITIZERS}"], package="g++")
    options = {"BUILD_SHARED_LIBS": "OFF", "RNE_OPENVINO": "OFF", "RNE_SANITIZE": SANITIZERS}
    # Not optimised: nothing undefined is optimised away, and gcc takes minutes to optimise sanitised code with -g.
    build_library("sanitized", CMAKE_BUILD_TYPE="Debug", **TOGETHER, **options)
    program = BUILDS / "sanitized" / "api_main"
    with locked():
        words = ["c++", "-std=c++17", "-g", "-O1", "-Wall", "-Wextra", "-Werror", f"-fsanitize={SANITIZERS}"]
        words += [f"-I{SOURCE / 'include'}", f"-I{SOURCE / 'src'}", str(SOURCE / "tests/api_main.cpp")]
        run(*words, str(BUILDS / "sanitized/libresnet_engine.a"), "-ldl", "-pthread", "-o", str(program))
    environment = {
        **os.environ,
        "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }
    done = subprocess.run([program, exported.fp32], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_calls_allocate_nothing_after_the_first(exported):
    require_tools()
    prefix = build_library()
    program = BUILDS / "allocations_main"
    with locked():
        words = ["c++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{prefix / 'include'}"]
        words += [str(SOURCE / "tests/allocations_main.cpp"), f"-L{prefix / 'lib'}", f"-Wl,-rpath,{prefix / 'lib'}"]
        run(*words, "-lresnet_engine", "-ldl", "-rdynamic", "-o", str(program))
    counts = dict(line.split() for line in run(str(program), str(exported.fp32)).splitlines())
    assert int(counts["control"]) > 0
    assert (counts["preprocess"], counts["infer"], counts["elsewhere"]) == ("0", "0", "0")


@pytest.mark.parametrize("target", cpp_fuzz.TARGETS)
def test_fuzzing_finds_no_crash(exported, target):
    require_tools()
    cpp_fuzz.require_fuzzer()
    manifests = [(folder / "bundle.json").read_bytes() for folder in (exported.fp32, exported.fp16)]
    assert "stat::number_of_executed_units" in cpp_fuzz.fuzz(target, manifests)
