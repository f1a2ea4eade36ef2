"""A stand-in for `tensorrt` and `cuda.bindings` that runs on a CPU, as strict as NVIDIA's interface files.

`site/` is a folder for PYTHONPATH: a process that starts with `standin_environment()` imports the stand-in instead of
NVIDIA's packages. The classes, enumerations and signatures of `tensorrt` come from
tests/tensorrt_bindings/interfaces/<version>.json, so a name, an argument or an enum member that
NVIDIA does not have is an error here too.

Environment of the process:
    STANDIN_TENSORRT  "10.3", "10.16" or "11.4"; or "rtx-1.7", TensorRT for RTX, which is then imported as
                      `tensorrt_rtx` from `site_rtx/`, and there is no `tensorrt`.
    STANDIN_GPU       JSON with name, major, minor, memory (bytes), driver and runtime (1000 * major + 10 * minor); or
                      "none" (a driver and no device) or "nodriver".
    STANDIN_FAULT     comma list of: crash-build, oom-build, no-implementation, fp32-island, unknown-layer,
                      wrong-output, slow-build, cuda-alloc, garbage-inspector, suboptimal-plan.
    STANDIN_SIGN      A file that a slow-build makes once it is under way.

What it cannot show: speed, the precision that TensorRT picks, the numbers of a GPU's kernels.
"""

import os
from pathlib import Path

SITE = Path(__file__).parent / "site"
SITE_RTX = Path(__file__).parent / "site_rtx"
VERSIONS = ("10.3", "10.16", "11.4")
RTX = "rtx-1.7"


def standin_environment(version: str = "10.16", **env: str) -> dict[str, str]:
    """Return the environment of a process that imports the stand-in of TensorRT `version`.

    Args:
        version: One of `VERSIONS`, or `RTX`.
        **env: More variables, such as STANDIN_GPU or STANDIN_FAULT; they win over the process's own.
    """
    root = str(SITE.parents[3])
    own = (str(SITE_RTX),) if version == RTX else ()
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(part for part in (*own, str(SITE), root, inherited) if part)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STANDIN_")}
    return {**clean, "PYTHONPATH": path, "STANDIN_TENSORRT": version, **env}
