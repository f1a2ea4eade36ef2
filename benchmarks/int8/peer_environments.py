"""The environments of the other quantisers: one each, since their demands contradict each other.

Each holds what the tool adds, pinned, and falls back on this environment's packages (torch, onnx, onnxruntime,
openvino, NumPy), so that all quantise and run with the same versions as far as the tool allows.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# One for all benchmarks, as `export/speed.py` has one for its peer.
PEER_FOLDER = Path(sys.prefix) / "peers" / "int8"
_SECONDS = 1800


@dataclass(frozen=True)
class Tool:
    """A package that quantises.

    Attributes:
        name: The name of its folder, and of its file in `int8/peer_tools`.
        packages: Requirements, the tool first; none where this environment has the tool.
    """

    name: str
    packages: tuple[str, ...] = ()


# All with `--no-deps`, since some ask for a torch, cupy or NumPy of their own: beside the tool stands what it imports
# and this environment lacks, or has in a version that the tool refuses.
TOOLS = (
    Tool("ort_static"),
    Tool(
        "nvidia_modelopt",
        (
            *("nvidia-modelopt==0.47.0", "onnx_graphsurgeon==0.6.1", "onnxslim==0.1.98", "lief==1.0.0"),
            "nvidia-ml-py==13.615.71",
        ),
    ),
    Tool("intel_nncf", ("nncf==3.4.0", "psutil==7.2.2", "tabulate==0.10.0")),
    Tool(
        "aimet",
        (
            *("aimet-onnx==2.42.0", "onnx2torch==1.5.15", "osqp==1.1.3", "pybind11==3.1.0", "psutil==7.2.2"),
            *("bokeh==3.9.2", "hvplot==0.12.2", "holoviews==1.23.2", "panel==1.9.4", "panel-material-ui==0.16.6"),
            *("param==2.4.2", "pyviz_comms==3.0.6", "colorcet==3.2.1", "tornado==6.6.1", "xyzservices==2026.9.1"),
            *("linkify-it-py==2.2.0", "mdit-py-plugins==0.7.0", "nh3==0.3.8"),
        ),
    ),
    Tool(
        "amd_quark",
        (
            *("amd-quark==0.13", "onnx==1.22.0", "onnxslim==0.1.98", "ninja==1.13.2", "evaluate==0.4.6"),
            *("colorama==0.4.6", "psutil==7.2.2", "sentencepiece==0.2.3", "zstandard==0.25.0"),
        ),
    ),
    Tool(
        "sony_mct",
        (
            *("model_compression_toolkit==2.6.1", "mct-quantizers==1.7.0", "edge-mdt-cl==1.1.1", "PuLP==3.3.2"),
            *("pydantic==2.11.10", "pydantic_core==2.33.2", "networkx==3.5", "matplotlib==3.9.4"),
            *("scikit-image==0.26.0", "ImageIO==2.38.1", "lazy-loader==0.6", "tifffile==2026.3.3"),
            *("tensorboard==2.21.0", "tensorboard-data-server==0.7.2", "absl-py==2.5.1", "Werkzeug==3.1.9"),
        ),
    ),
    Tool(
        "xilinx_brevitas",
        ("brevitas==0.13.4", "dependencies==2.0.1", "setuptools==80.10.2", "unfoldNd==0.2.3", "onnxoptimizer==0.4.2"),
    ),
)


def tool_named(name: str) -> Tool:
    """Return a tool of the table."""
    return next(tool for tool in TOOLS if tool.name == name)


def tool_python(tool: Tool, folder: Path) -> Path:
    """Return the Python that runs a tool, in `folder` under its name; made unless one with these packages is there.

    Raises:
        RuntimeError: The packages could not be installed; the message ends with what pip said.
    """
    if not tool.packages:
        return Path(sys.executable)
    place = folder / tool.name
    python, done, packages = place / "bin" / "python", place / "complete", "\n".join(tool.packages)
    if done.exists() and done.read_text(encoding="utf-8") == packages:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
    site = next(place.glob("lib/python*/site-packages"))
    # Ours come after its own. A folder named in a .pth file is not searched for further .pth files: hence all of ours.
    ours = dict.fromkeys(path for path in sys.path if Path(path).name == "site-packages")
    (site / "shared.pth").write_text("".join(f"{path}\n" for path in ours), encoding="utf-8")
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *tool.packages]
    said = subprocess.run(install, check=False, capture_output=True, text=True, timeout=_SECONDS)
    if said.returncode:
        raise RuntimeError(f"{tool.packages[0]} could not be installed:\n{said.stderr[-2000:]}")
    done.write_text(packages, encoding="utf-8")
    return python


def tool_versions(*names: str) -> dict[str, str]:
    """Return the version of each tool's own package, as it is pinned."""
    return dict(tool_named(name).packages[0].split("==", 1) for name in names)
