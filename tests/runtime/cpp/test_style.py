"""The C++ sources are formatted and clang-tidy finds nothing; both skip where the tool is absent."""

import hashlib
import subprocess
from concurrent.futures import ThreadPoolExecutor

from tests.helpers.cpp.build import BUILDS, SOURCE, openvino_cmake, require_tools
from tests.helpers.cpp.onnxruntime import STANDIN
from tests.helpers.tools import require_tool

# What includes TensorRT's and CUDA's headers, which are not everywhere.
NVIDIAS = ("backend_tensorrt.cpp", "tensorrt_")
SUFFIXES = {".h", ".c", ".cpp", ".inc"}


def sources(*folders):
    return sorted(
        path
        for folder in folders
        for path in (SOURCE / folder).rglob("*")
        if path.suffix in SUFFIXES and path.is_file()
    )


def test_every_source_is_formatted():
    require_tool("clang-format", package="clang-format")
    files = sources("include", "src", "examples", "tests", "fuzz")
    assert len(files) > 20
    words = ["clang-format", "--dry-run", "-Werror", *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def test_no_source_ends_the_process_or_prints():
    for path in sources("include", "src"):
        text = path.read_text(encoding="utf-8")
        for word in ("exit(", "abort(", "terminate(", "<iostream>", "printf("):
            calls = [line for line in text.splitlines() if word in line and "snprintf(" not in line]
            # The header's example is a program of the user's, and a comment says what the library never calls.
            assert path.name == "resnet_engine.h" or calls == [], path


def test_clang_tidy_finds_nothing():
    require_tools()
    require_tool("clang-tidy", package="clang-tidy")
    clean = BUILDS / "clang-tidy"
    clean.mkdir(parents=True, exist_ok=True)
    # What each file may include, and the checks.
    shared = [*SOURCE.rglob(".clang-tidy"), *({*sources("include", "src", "examples")} - {*tidied()})]
    stamps = {path: clean / hash_all([*sorted(shared), path]) for path in tidied()}
    # The same bytes were clean before.
    changed = [path for path, stamp in stamps.items() if not stamp.is_file()]
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(changed, pool.map(tidy, changed), strict=True))
    for path, said in found.items():
        if said == "":
            stamps[path].touch()
    assert "".join(found.values()) == "", "".join(found.values())[-6000:]


def tidied():
    """The library's and the examples' files, but those that need NVIDIA's headers."""
    return [path for path in sources("src", "examples") if path.suffix == ".cpp" and not path.name.startswith(NVIDIAS)]


def tidy(path):
    """What clang-tidy says of a file, or ''."""
    includes = [f"-I{SOURCE / folder}" for folder in ("include", "src", "examples/common")]
    system = [f"-isystem{folder}" for folder in (openvino_cmake().parent / "include", STANDIN)]
    flags = ["-std=c++17", "-DRNE_WITH_OPENVINO", *includes, *system]
    words = ["clang-tidy", "--quiet", str(path), "--", *flags]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"{path}\n{done.stdout}{done.stderr[-1000:]}" if done.returncode else ""


def hash_all(files):
    """One sha256 over files' names and contents."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
