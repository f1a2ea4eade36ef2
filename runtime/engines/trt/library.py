"""TensorRT and TensorRT for RTX: two libraries with one interface, and a table of what each of them has.

Everything that builds or runs plans takes one of the two and asks it here where they differ.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType, ModuleType

from runtime.bundle.layout import PLANS, PlanFiles
from runtime.support.engine_names import PlanEngine


@dataclass(frozen=True)
class Library:
    """One of NVIDIA's libraries.

    Attributes:
        engine: How the command line names it.
        label: How sentences name it.
        modules: Names of the Python module; where there are several, the first that is installed is taken, or else the
            last.
        lowest: The oldest version, (major, minor), that this project knows.
        newest_major: The newest major version. A later one may rename what this one has: a build there should fail with
            a sentence, not in the middle.
        extra: The extra of this project that installs it.
        install: The command that does, and where it can be.
        reinstall: What to reinstall where a part is missing.
        tag: The first four bytes of its plans.
        builds_on_gpu: Whether a plan is built on the GPU that it is for, and can be run and inspected there. Otherwise
            it is built anywhere, for compute capabilities, and its layers are told by the build's log alone.
        compiles_at_load: Whether kernels are compiled on the GPU that loads the plan. A file beside the plan then keeps
            them, the library records CUDA graphs itself, and its plans run on Linux and Windows alike.
        refused: Options of a build that have no meaning there, with the reason.
    """

    engine: PlanEngine
    label: str
    modules: tuple[str, ...]
    lowest: tuple[int, int]
    newest_major: int
    extra: str
    install: str
    reinstall: str
    tag: bytes
    builds_on_gpu: bool
    compiles_at_load: bool
    refused: Mapping[str, str]

    @property
    def files(self) -> PlanFiles:
        """The names of its plan's files in a bundle."""
        return PLANS[self.engine]

    @property
    def module(self) -> str:
        """The module to import."""
        *preferred, last = self.modules
        return next((name for name in preferred if find_spec(name) is not None), last)

    def load(self) -> ModuleType:
        """Return its module.

        Functions call the result `trt` and tell the type checker that it is TensorRT's, whose names all versions of
        both libraries have, but for those behind `Features`.

        Raises:
            ImportError: The module is not there, or lacks something.
        """
        return importlib.import_module(self.module)


TENSORRT = Library(
    engine="tensorrt",
    label="TensorRT",
    modules=("tensorrt",),
    # JetPack 6.1 and newer boards have 10.3; what this project uses is the same there and in 11.
    lowest=(10, 3),
    newest_major=11,
    extra="gpu",
    install="pip install 'export-ssl[gpu]' (CUDA 13) or 'export-ssl[gpu-cu12]' (CUDA 12); "
    "on a Jetson, use the Python that JetPack installed it for",
    reinstall="tensorrt",
    tag=b"ftrt",
    builds_on_gpu=True,
    compiles_at_load=False,
    refused=MappingProxyType(
        {
            "--gpu": "TensorRT builds for this machine's GPU, which CUDA_VISIBLE_DEVICES chooses",
            "--compute-capability": "TensorRT builds for this machine's GPU, which CUDA_VISIBLE_DEVICES chooses",
        }
    ),
)

RTX = Library(
    engine="tensorrt-rtx",
    label="TensorRT for RTX",
    # The metapackage's front, and the bindings that it stands for.
    modules=("tensorrt_rtx", "tensorrt_rtx_bindings"),
    lowest=(1, 7),
    newest_major=1,
    extra="rtx",
    install="pip install 'export-ssl[rtx]' (CUDA 13) or 'export-ssl[rtx-cu12]' (CUDA 12), on Linux or Windows with an "
    "x86-64 processor",
    reinstall="tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings",
    tag=b"vtrt",
    builds_on_gpu=False,
    compiles_at_load=True,
    refused=MappingProxyType(
        {
            # The interface's own words: deprecated, "timing cache operations are no-ops in TensorRT-RTX".
            "--timing-cache": "no kernel is timed at its build; kernels are chosen on the GPU that loads the plan",
            "--version-compatible": "its plans have no such form; build again with each version",
            "--hardware-compatible": "its plans run on every GPU that --gpu or --compute-capability names",
            # Levels 0, 3 and 5 gave the same layers of a ResNet-18 in FP16 and of a ResNeXt-50 in INT8, with 1.7.
            "--optimization-level": "its layers are the same at every level",
        }
    ),
)

LIBRARIES: dict[PlanEngine, Library] = {library.engine: library for library in (TENSORRT, RTX)}
