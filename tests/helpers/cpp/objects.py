"""C++ files compiled once: what was compiled before, with the same flags to the same text, is not compiled again.

Objects are kept under `build/cpp/objects`, named by a hash of the compiler, its flags and the source as the
preprocessor leaves it, so that programs that differ in a definition share what the definition does not touch.
"""

import functools
import hashlib
import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.tools import require_headers

OBJECTS = ROOT / "build" / "cpp" / "objects"
# What these say is in the preprocessed text.
_PREPROCESSORS = ("-D", "-I")


def build_program(compiler: str, program: Path, sources: Sequence[Path], *flags: str, link: Sequence[str] = ()) -> Path:
    """Return the path of a program, or of a shared library, after compiling and linking it.

    Args:
        compiler: A C++ compiler that understands gcc's flags.
        program: Where it is written.
        sources: C++ files.
        *flags: Flags of the compiler, for every file and for linking.
        link: More words for linking alone, behind the objects.

    Raises:
        AssertionError: The compiler refused; its words are in it.
    """
    # What is compiled for this very processor is not kept: the folder may move to another.
    folder = program.parent if "-march=native" in flags else OBJECTS
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda source: _compile(compiler, source, flags, folder), sources))
    _run([compiler, *flags, *map(str, objects), "-o", str(program), *link])
    return program


def _compile(compiler: str, source: Path, flags: Sequence[str], folder: Path) -> Path:
    text = _run([compiler, *flags, "-E", str(source)])
    kept = [flag for flag in flags if not flag.startswith(_PREPROCESSORS)]
    name = hashlib.sha256("\0".join([compiler, _version(compiler), *kept, text]).encode()).hexdigest()
    made = folder / f"{source.stem}-{name[:24]}.o"
    if not made.is_file():
        # Two workers may compile the same: each renames its own.
        partial = made.with_suffix(f".{os.getpid()}.partial")
        _run([compiler, *flags, "-c", str(source), "-o", str(partial)])
        partial.replace(made)
    return made


@functools.cache
def _version(compiler: str) -> str:
    return _run([compiler, "--version"])


def _run(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        require_headers(done.stderr)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr[-4000:]}"
    return done.stdout
