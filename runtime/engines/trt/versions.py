"""A library of `runtime/engines/trt/library.py` as it is installed: its version, and what not every version has."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from runtime.engines.trt.library import TENSORRT, Library
from runtime.errors import EngineError
from runtime.support.engine_names import PlanEngine

# Name, and the first version of each library that has it; a library that is left out has it in none. A name that not
# every version has is used behind the flag of this name in `Features`, which the tests' type check reads as a constant:
# unguarded, the name is an error there.
FEATURES: dict[str, dict[PlanEngine, tuple[int, int]]] = {
    # HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY, by the headers of NVIDIA/TensorRT.
    "HAS_SAME_COMPUTE_CAPABILITY": {"tensorrt": (10, 9), "tensorrt-rtx": (1, 7)},
    # ComputeCapability, and the two calls that set those of a build.
    "HAS_COMPUTE_CAPABILITIES": {"tensorrt-rtx": (1, 7)},
    # IRuntimeConfig with its IRuntimeCache and two strategies, and Runtime.get_engine_validity.
    "HAS_RUNTIME_CONFIG": {"tensorrt-rtx": (1, 7)},
}


class Version(NamedTuple):
    """A version of TensorRT; the build number differs between packagings of one release."""

    major: int
    minor: int
    patch: int = 0
    build: int = 0

    def __str__(self) -> str:
        """Return the numbers joined by dots."""
        return ".".join(str(number) for number in self)


@dataclass(frozen=True)
class Features:
    """What this version has beyond the oldest one; see `FEATURES`."""

    HAS_SAME_COMPUTE_CAPABILITY: bool
    HAS_COMPUTE_CAPABILITIES: bool
    HAS_RUNTIME_CONFIG: bool


def parse_version(text: str) -> Version:
    """Return the version that a text such as `10.16.1.11` or `10.3.0.post1` states.

    Raises:
        EngineError: The text does not begin with two numbers.
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?(?:\.(\d+))?", text)
    if found is None:
        raise EngineError(f"TensorRT states its version as {text!r}, expected numbers such as 10.16.1.11: reinstall it")
    return Version(*(int(number or 0) for number in found.groups()))


def find_features(version: Version, library: Library = TENSORRT) -> Features:
    """Return what a version of a library has beyond the oldest one."""
    return Features(
        **{name: library.engine in since and version[:2] >= since[library.engine] for name, since in FEATURES.items()}
    )


def require_tensorrt(library: Library = TENSORRT) -> Version:
    """Return the version of a library, which can then be loaded.

    Raises:
        EngineError: TensorRT is not installed, cannot be loaded, or is a version that this project does not know.
    """
    installed, problem = find_tensorrt(library)
    if installed is None or problem:
        raise EngineError(problem)
    return installed


def find_tensorrt(library: Library = TENSORRT) -> tuple[Version | None, str]:
    """Return the version of a library, or None, and what is wrong in one sentence, empty where nothing is.

    Only the Python module is loaded: no GPU and no driver is touched.
    """
    label = library.label
    try:
        module = library.load()
    except ModuleNotFoundError as error:
        if error.name != library.module:
            return (
                None,
                f"{label} is installed but lacks {error.name}: pip install --force-reinstall {library.reinstall}",
            )
        return None, f"{label} is not installed: {library.install}"
    except (ImportError, OSError) as error:
        # A library of it is missing: the wheel without its libs, or an LD_LIBRARY_PATH that hides them.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return None, f"{label} cannot be loaded ({reason}): reinstall it, and check LD_LIBRARY_PATH"
    try:
        # A folder of that name in the working directory is imported too, and has no version.
        version = parse_version(str(module.__version__))
    except AttributeError:
        return None, (
            f"a module named {library.module} is imported that is not {label}: look for such a folder, and rename it"
        )
    except EngineError as error:
        return None, str(error)
    if version[:2] < library.lowest or version.major > library.newest_major:
        lowest = ".".join(map(str, library.lowest))
        return version, (
            f"{label} {version} is installed, expected {lowest} to {library.newest_major}.x: "
            f"pip install 'export-ssl[{library.extra}]' in an environment of its own"
        )
    return version, ""
