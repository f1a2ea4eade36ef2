"""The kernels that TensorRT for RTX compiled of a plan on a GPU, in a file beside the plan for the next process.

The file is one line of JSON, `KernelsOf` with the sha256 of what follows, and then the bytes of the library's runtime
cache. It is written beside and renamed. One that is damaged, or of another plan, GPU, driver or version, is discarded
with a word and replaced: the library compiles again.

A process that is killed writes nothing; what it compiled is compiled again.
"""

import hashlib
import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.bundle.manifest import Sha256
from runtime.errors import BundleError
from runtime.support.files import atomic_file

LOGGER = logging.getLogger("export_ssl.tensorrt")


class KernelsOf(BaseModel):
    """What kernels were compiled of, and where: others are of no use.

    Attributes:
        plan_sha256: Hash of the plan.
        gpu: The GPU's name.
        compute_capability: The GPU's, such as `8.9`.
        driver: Newest CUDA version that the driver supports, such as `13.0`.
        version: Version of TensorRT for RTX, such as `1.7.1.116`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan_sha256: Sha256
    gpu: str
    compute_capability: str
    driver: str
    version: str


class _FirstLine(KernelsOf):
    sha256: Sha256


def read_kernels(file: Path, wanted: KernelsOf) -> bytes | None:
    """Return the kernels that a file holds, or None where it has none for `wanted`, which is then told."""
    # A bundle may come from a stranger: no link in it is followed.
    if file.is_symlink() or not file.is_file():
        return None
    try:
        line, _, kernels = file.read_bytes().partition(b"\n")
        found = _FirstLine.model_validate_json(line)
    except (OSError, ValidationError):
        discard(file, "it is damaged")
        return None
    if hashlib.sha256(kernels).hexdigest() != found.sha256:
        discard(file, "it is damaged")
        return None
    names = {"plan_sha256": "plan", "gpu": "GPU", "compute_capability": "GPU"}
    for name, value in wanted.model_dump().items():
        if getattr(found, name) != value:
            discard(file, f"its kernels are of another {names.get(name, name)}")
            return None
    return kernels


def write_kernels(file: Path, kernels: bytes, of: KernelsOf) -> None:
    """Keep kernels for the next process; a folder that cannot be written to is told, and no error."""
    first = _FirstLine(**of.model_dump(), sha256=hashlib.sha256(kernels).hexdigest())
    try:
        with atomic_file(file) as target:
            target.write(first.model_dump_json().encode() + b"\n" + kernels)
    except BundleError as error:
        LOGGER.warning("compiled kernels are not kept, and are compiled again next time: %s", error)


def discard(file: Path, reason: str) -> None:
    """Say that the kernels of a file are not used."""
    LOGGER.warning("%s is not used (%s): kernels are compiled again, and replace it", file, reason)
