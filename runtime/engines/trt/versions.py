"""TensorRT as it is installed: the module, its version, and what that version has beyond the oldest one."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from runtime.errors import EngineError

# JetPack 6.1 and newer boards have 10.3; what this project uses is the same there and in 11.
LOWEST = (10, 3)
# TensorRT 12 may rename what 11 has: a build there should fail with a sentence, not in the middle.
NEWEST_MAJOR = 11

# A name that not every version has is used behind the flag of this name in `Features`, which the tests' type check
# reads as a constant: unguarded, the name is an error there.
FEATURES: dict[str, tuple[int, int]] = {
    # HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY, by the headers of NVIDIA/TensorRT.
    "HAS_SAME_COMPUTE_CAPABILITY": (10, 9),
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
    """What this version has beyond 10.3; see `FEATURES`."""

    HAS_SAME_COMPUTE_CAPABILITY: bool


def parse_version(text: str) -> Version:
    """Return the version that a text such as `10.16.1.11` or `10.3.0.post1` states.

    Raises:
        EngineError: The text does not begin with two numbers.
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?(?:\.(\d+))?", text)
    if found is None:
        raise EngineError(f"TensorRT states its version as {text!r}, expected numbers such as 10.16.1.11: reinstall it")
    return Version(*(int(number or 0) for number in found.groups()))


def find_features(version: Version) -> Features:
    """Return what a version has beyond 10.3."""
    return Features(**{name: version[:2] >= since for name, since in FEATURES.items()})


def require_tensorrt() -> Version:
    """Return the version of TensorRT, which can then be imported.

    Raises:
        EngineError: TensorRT is not installed, cannot be loaded, or is a version that this project does not know.
    """
    installed, problem = find_tensorrt()
    if installed is None or problem:
        raise EngineError(problem)
    return installed


def find_tensorrt() -> tuple[Version | None, str]:
    """Return the version of TensorRT, or None, and what is wrong in one sentence, empty where nothing is.

    Only the Python module is loaded: no GPU and no driver is touched.
    """
    try:
        import tensorrt
    except ModuleNotFoundError as error:
        if error.name != "tensorrt":
            return None, f"TensorRT is installed but lacks {error.name}: pip install --force-reinstall tensorrt"
        return None, (
            "TensorRT is not installed: pip install 'export-ssl[gpu]' (CUDA 13) or 'export-ssl[gpu-cu12]' (CUDA 12); "
            "on a Jetson, use the Python that JetPack installed it for"
        )
    except (ImportError, OSError) as error:
        # A library of it is missing: the wheel without its libs, or an LD_LIBRARY_PATH that hides them.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return None, f"TensorRT cannot be loaded ({reason}): reinstall it, and check LD_LIBRARY_PATH"
    try:
        # A folder of that name in the working directory is imported too, and has no version.
        version = parse_version(str(tensorrt.__version__))
    except AttributeError:
        return None, "a module named tensorrt is imported that is not TensorRT: look for such a folder, and rename it"
    except EngineError as error:
        return None, str(error)
    if version[:2] < LOWEST or version.major > NEWEST_MAJOR:
        return version, (
            f"TensorRT {version} is installed, expected {LOWEST[0]}.{LOWEST[1]} to {NEWEST_MAJOR}.x: "
            "pip install 'export-ssl[gpu]' in an environment of its own"
        )
    return version, ""
