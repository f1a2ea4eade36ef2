"""What a comparison runs, opened: the original, the engines of all bundles, and the batches that go through them."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from runtime.bundle.bundle import Bundle
from runtime.bundle.layers import total_macs
from runtime.bundle.manifest import Preprocessing, with_choices
from runtime.bundle.results.compare_json import FlopsReport
from runtime.compare.request import CompareRequest
from runtime.data.batches import Loader, load_batches
from runtime.data.dataset import Dataset, Stream
from runtime.data.pieces import Piece
from runtime.engines.contract import Engine
from runtime.engines.open_engine import (
    ORIGINAL,
    EngineChoice,
    EngineOptions,
    load_engine,
    parse_engine,
    runnable_engines,
)
from runtime.engines.pytorch_engine import PyTorchEngine
from runtime.errors import EngineError
from runtime.images.native import NativePreprocessor
from runtime.support.arrays import Pixels

if TYPE_CHECKING:
    import torch

# From a picture to the network's pixels.
Transform = Callable[[Image.Image], Pixels]


@dataclass(frozen=True)
class OpenedEngines:
    """All that runs on every image.

    Attributes:
        original: The PyTorch original.
        engines: The engines, in the order asked for.
        bundles: Number of each engine's bundle; None where the engine is the original in another precision.
    """

    original: PyTorchEngine
    engines: tuple[Engine, ...]
    bundles: tuple[int | None, ...]

    @property
    def all_on_gpu(self) -> bool:
        """Whether none of them, nor the original, works on the processor's cores."""
        return all(engine.runs_on_gpu for engine in (self.original, *self.engines))


def open_engines(stack: ExitStack, bundles: Sequence[Bundle], request: CompareRequest) -> OpenedEngines:
    """Return the original and the engines, which end with `stack`.

    Raises:
        ExportSslError: One cannot be opened.
    """
    original = stack.enter_context(
        PyTorchEngine(
            bundles[0], weights=request.weights, threads=request.threads, device=_torch_device(request.device)
        )
    )
    asked = tuple(parse_engine(name) for name in request.engines)
    engines: list[Engine] = []
    numbers: list[int | None] = []
    for number, bundle in enumerate(bundles):
        for choice in asked or _installed(bundle):
            # The original itself is always compared with; in another precision it comes once.
            if choice.name == ORIGINAL and (choice.precision is None or number > 0):
                continue
            engines.append(stack.enter_context(_open(bundle, choice, request)))
            numbers.append(None if choice.name == ORIGINAL else number)
    return OpenedEngines(original, tuple(engines), tuple(numbers))


def open_batches(
    dataset: Dataset | Stream | Piece,
    bundle: Bundle,
    request: CompareRequest,
    transform: Transform | None,
    *,
    engines: OpenedEngines,
) -> Loader:
    """Return the batches of a data set, or of a piece of one.

    Args:
        dataset: The images.
        bundle: One of those compared: all have the same preprocessing.
        request: How they are read.
        transform: `make_transform`'s.
        engines: What the batches go through.
    """
    return load_batches(
        dataset,
        contract_of(bundle, request),
        batch_size=request.batch_size,
        workers=request.workers,
        skip_unreadable=request.skip_unreadable,
        transform=transform,
        # On a CPU, decoding beside inference stalls it; a GPU leaves the cores to the decoders.
        overlap=engines.all_on_gpu,
    )


def contract_of(bundle: Bundle, request: CompareRequest) -> Preprocessing:
    """Return the bundle's preprocessing, with what the request chooses in its place."""
    return with_choices(bundle.manifest.preprocessing, exif_rotate=request.exif_rotate, depth16=request.depth16)


def make_transform(bundle: Bundle, request: CompareRequest) -> Transform | None:
    """Return the C library's preprocessing where that is asked for, None for Pillow's.

    Raises:
        UsageError: The library cannot be loaded.
    """
    return NativePreprocessor(request.native, contract_of(bundle, request)) if request.native else None


def count_flops(network: "torch.nn.Module", bundle: Bundle) -> FlopsReport:
    """Return the multiply-accumulates of the original's network and of a bundle's graph, and the card's."""
    from runtime.original.flops import count_card_flops, count_pytorch_macs

    manifest = bundle.manifest
    card = manifest.card.flops if manifest.card else None
    return FlopsReport(
        pytorch_macs=count_pytorch_macs(network, manifest.preprocessing.image_size),
        onnx_macs=total_macs(bundle.layers()),
        card=card,
        card_recomputed=count_card_flops(network) if card is not None else None,
    )


def _installed(bundle: Bundle) -> tuple[EngineChoice, ...]:
    """Return the engines that a bundle is run in where none is named.

    Raises:
        EngineError: There is none.
    """
    chosen = tuple(EngineChoice(name) for name in runnable_engines(bundle))
    if not chosen:
        raise EngineError("no engine is installed besides PyTorch: pip install 'export-ssl[cpu]'")
    return chosen


def _open(bundle: Bundle, choice: EngineChoice, request: CompareRequest) -> Engine:
    options = EngineOptions(threads=request.threads, device=request.device, weights=request.weights, share_cores=True)
    return load_engine(bundle, choice.name, choice.applied_to(options))


def _torch_device(device: str) -> str:
    return "cuda" if device == "gpu" else device
