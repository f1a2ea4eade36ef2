"""TensorRT's timing cache: measured kernel times that make the next build of such a network faster.

One file per TensorRT version and GPU, as times of another version or GPU are not times at all. The file is
combined with what another build wrote meanwhile, and replaced whole.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.engines.trt.cuda_calls import GpuDevice
from runtime.engines.trt.versions import Version
from runtime.support.files import atomic_file

if TYPE_CHECKING:
    import tensorrt as trt


def default_path(version: Version, device: GpuDevice) -> Path:
    """Return where the timing cache of a TensorRT version on a GPU is kept."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    gpu = re.sub(r"[^A-Za-z0-9]+", "-", device.name).strip("-").lower()
    capability = device.compute_capability.replace(".", "")
    return caches / "export-ssl" / "timing-caches" / f"tensorrt-{version}-{gpu}-sm{capability}.cache"


def load_timing_cache(config: "trt.IBuilderConfig", path: Path | None) -> str:
    """Give a build the times that a file holds, none where there is no file yet.

    Returns:
        What came of it, in words, for the sidecar.
    """
    if path is None:
        return "none"
    stored = path.read_bytes() if path.is_file() else b""
    if stored and _set(config, stored):
        return f"{len(stored)} bytes reused"
    _set(config, b"")
    return "not usable, started over" if stored else "new"


def _set(config: "trt.IBuilderConfig", stored: bytes) -> bool:
    """Return whether TensorRT took a serialised cache; times of another version or GPU are not forced on it."""
    try:
        cache = config.create_timing_cache(stored)
    except (RuntimeError, TypeError):
        # How the bindings say that the bytes are no timing cache.
        return False
    return cache is not None and config.set_timing_cache(cache, ignore_mismatch=False)


def save_timing_cache(config: "trt.IBuilderConfig", path: Path) -> None:
    """Write the times that a build holds now, together with what the file has gained meanwhile.

    Raises:
        BundleError: The file cannot be written.
    """
    cache = config.get_timing_cache()
    if cache is None:
        return
    if path.is_file():
        try:
            others = config.create_timing_cache(path.read_bytes())
        except (RuntimeError, TypeError):
            others = None
        if others is not None:
            # False where it is of another version or GPU: then ours replaces it.
            cache.combine(others, ignore_mismatch=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(cache.serialize())
