"""The C header: it compiles alone, its structures are those of the tests, and the example in its comment runs."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle.bundle import open_bundle
from runtime.engines.open_engine import load_engine
from tests.conftest import IMAGE_SIZE
from tests.helpers.cpp import library as cpp_library
from tests.helpers.cpp.build import SOURCE, build_library, require_tools
from tests.helpers.tools import require_tool


def test_structures_are_laid_out_as_the_compiled_header_has_them(tmp_path):
    require_tools()
    lines = ["#include <stdio.h>", "#include <resnet_engine.h>", "int main(void) {"]
    expected = []
    for name, structure in cpp_library.STRUCTURES.items():
        lines.append(f'printf("%zu\\n", sizeof({name}));')
        expected.append(ctypes.sizeof(structure))
        for field, *_ in structure._fields_:
            lines.append(f'printf("%zu\\n", offsetof({name}, {field}));')
            expected.append(getattr(structure, field).offset)
    (tmp_path / "sizes.c").write_text("\n".join([*lines, "return 0; }"]), encoding="utf-8")
    program = compile_c(tmp_path / "sizes.c", tmp_path / "sizes")
    assert [int(line) for line in subprocess.check_output([program], text=True).split()] == expected


@pytest.mark.parametrize("words", [("cc", "-x", "c", "-std=c11"), ("c++", "-x", "c++", "-std=c++17")])
def test_the_header_alone_compiles_as_c_and_as_cpp(tmp_path, words):
    require_tools()
    (tmp_path / "alone").write_text("#include <resnet_engine.h>\n", encoding="utf-8")
    flags = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", f"-I{SOURCE / 'include'}")
    done = subprocess.run([*words, *flags, str(tmp_path / "alone")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_headers_example_compiles_as_c_and_runs(exported, tmp_path):
    require_tools()
    prefix = build_library()
    header = (SOURCE / "include/resnet_engine.h").read_text(encoding="utf-8")
    comment = header.partition("*/")[0]
    code = [line[7:] for line in comment.splitlines() if line.startswith(" *     ")]
    includes, statements = code[0], "\n".join(code[1:])
    assert includes == "#include <resnet_engine.h>"
    assert "rne_close(engine);" in statements
    text = f"""#include <stdio.h>
#include <stdlib.h>
{includes}
int main(void) {{
    size_t width = 90, height = 70;
    uint8_t *data = calloc(width * height, 3);
    {statements.replace("ssl_resnet18-int8", str(exported.fp32))}
    free(data); free(pixels); free(logits);
    return 0;
}}
"""
    (tmp_path / "example.c").write_text(text, encoding="utf-8")
    library = prefix / "lib"
    program = compile_c(
        tmp_path / "example.c", tmp_path / "example", f"-L{library}", "-lresnet_engine", f"-Wl,-rpath,{library}"
    )
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    black = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    with load_engine(exported.fp32, "openvino") as python:
        best = int(python.infer(black).logits[0].argmax())
    assert done.stdout.rstrip("\n") == open_bundle(exported.fp32).labels()[best]


def test_a_compiler_for_32_bits_is_refused_in_one_line():
    clang = require_tool("clang", package="clang")
    flags = ("-ffreestanding", "-fsyntax-only", "-x", "c", "-std=c11", f"-I{SOURCE / 'include'}", "-")
    said = {}
    for target in ("armv7-linux-gnueabihf", "i686-linux-gnu", "aarch64-linux-gnu", "x86_64-linux-gnu"):
        words = [clang, f"--target={target}", *flags]
        done = subprocess.run(words, input="#include <resnet_engine.h>\n", capture_output=True, text=True, check=False)
        said[target] = [line for line in done.stderr.splitlines() if " error: " in line]
    for target in ("armv7-linux-gnueabihf", "i686-linux-gnu"):
        assert len(said[target]) == 1
        assert "use a compiler for 64 bits" in said[target][0]
    assert said["aarch64-linux-gnu"] == said["x86_64-linux-gnu"] == []


def compile_c(source: Path, program: Path, *flags: str) -> Path:
    """Compile a C11 program that no warning is forgiven."""
    words = ["cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{SOURCE / 'include'}", str(source)]
    done = subprocess.run([*words, *flags, "-o", str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program
