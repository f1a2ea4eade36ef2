"""One comparison from start to end: open the bundles, the data, the original and the engines, and run them."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle import Bundle, open_bundle
from runtime.compare import Scores, compare
from runtime.compare_changes import ChangeCollector, save_comparison
from runtime.compare_report import (
    CardAccuracy,
    Comparison,
    DataReport,
    EngineScore,
    FlopsReport,
    ParametersReport,
)
from runtime.dataset import Dataset, Stream, open_images
from runtime.engine import Engine
from runtime.engine_pytorch import PyTorchEngine
from runtime.errors import EngineError, UsageError
from runtime.layers import total_macs, total_parameters
from runtime.load import ORIGINAL, EngineChoice, EngineOptions, load_engine, parse_engine, runnable_engines
from runtime.loader import Unreadable, load_batches
from runtime.manifest import Manifest
from runtime.native_preprocessing import NativePreprocessor

# Large enough that the call costs nothing beside the convolutions, small enough for any memory.
DEFAULT_BATCH_SIZE = 32


@dataclass(frozen=True)
class CompareRequest:
    """What to compare and how.

    Attributes:
        bundles: Bundles of one original: the same weights and preprocessing, any precision.
        data: An image folder, or a data-set name that timm takes.
        engines: `NAME` or `NAME:PRECISION`, run on every bundle; empty for all that are installed.
            `pytorch:fp16` is the original in half precision, once.
        weights: The original's checkpoint; None looks for the one named in the manifest.
        labels: Labels file of a flat folder.
        split: Split of a data-set name.
        root: Folder of the downloaded data of a data-set name.
        limit: At most this many images, class-balanced, or the first of a stream; None for all.
        seed: Of that sample.
        batch_size: Images per inference.
        workers: Decoding threads; None for one per core.
        threads: Threads for one inference; None leaves the engines' choice.
        device: `cpu` or `gpu`, for all engines.
        skip_unreadable: Whether unreadable images are left out and listed, where else they are an error.
        save: Whether comparison and changed images are kept for `run-ssl report`, in each bundle's `results` folder.
        native: The C library, which preprocesses instead of Pillow, to the same bytes; None for Pillow.
    """

    bundles: tuple[Path, ...]
    data: str
    engines: tuple[str, ...] = ()
    weights: Path | None = None
    labels: Path | None = None
    split: str = "validation"
    root: Path | None = None
    limit: int | None = None
    seed: int = 0
    batch_size: int = DEFAULT_BATCH_SIZE
    workers: int | None = None
    threads: int | None = None
    device: str = "cpu"
    skip_unreadable: bool = False
    native: Path | None = None
    save: bool = False


def run_comparison(
    request: CompareRequest,
    *,
    on_start: Callable[[Dataset | Stream], None] = lambda _dataset: None,
    on_batch: Callable[[int], None] = lambda _images: None,
) -> Comparison:
    """Compare the engines of some bundles with their PyTorch original on labelled images.

    Args:
        request: What to compare and how.
        on_start: Called with the data set once everything is open.
        on_batch: Called after every batch with the number of images done so far.

    Raises:
        ExportSslError: Anything that stops it, in one line.
    """
    choices = tuple(parse_engine(name) for name in request.engines)
    bundles = tuple(open_bundle(path) for path in request.bundles)
    _require_one_original(bundles)
    first = bundles[0]
    dataset = open_images(
        request.data,
        first.labels(),
        labels_file=request.labels,
        limit=request.limit,
        seed=request.seed,
        split=request.split,
        root=request.root,
    )
    with ExitStack() as stack:
        original = stack.enter_context(
            PyTorchEngine(first, weights=request.weights, threads=request.threads, device=_torch_device(request.device))
        )
        opened = _open_engines(stack, bundles, choices, request)
        loader = stack.enter_context(
            load_batches(
                dataset,
                first.manifest.preprocessing,
                batch_size=request.batch_size,
                workers=request.workers,
                skip_unreadable=request.skip_unreadable,
                transform=NativePreprocessor(request.native, first.manifest.preprocessing) if request.native else None,
                # On a CPU, decoding beside inference stalls it; a GPU leaves the cores to the decoders.
                overlap=request.device == "gpu",
            )
        )
        on_start(dataset)
        changes = ChangeCollector(dataset, first.labels(), len(opened)) if request.save else None
        scores = compare(
            loader,
            original=original,
            engines=[engine for _, engine in opened],
            on_batch=on_batch,
            on_pair=changes.add if changes is not None else None,
        )
        flops = _flops(original, first)
    data = _data_report(request.data, dataset, scores, loader.unreadable)
    comparison = _report(request, bundles, scores, names=[name for name, _ in opened], flops=flops, data=data)
    if changes is not None:
        who = [(score.bundle, score.engine, score.precision) for score in comparison.engines]
        save_comparison(request.bundles, comparison, changes.changes(who))
    return comparison


def _data_report(source: str, dataset: Dataset | Stream, scores: Scores, skipped: list[Unreadable]) -> DataReport:
    """Return what was compared on, with a note where a stream was shorter or longer than it said."""
    came, notes = scores.original.images + len(skipped), dataset.notes
    if dataset.length not in (None, came):
        notes = (*notes, f"the stream ended after {came} images, expected {dataset.length}")
    return DataReport(
        source=source,
        images=scores.original.images,
        unreadable=tuple(image.name for image in skipped),
        notes=notes,
        seconds=scores.seconds,
        images_per_s=scores.images_per_s,
    )


def _torch_device(device: str) -> str:
    return "cuda" if device == "gpu" else device


def _require_one_original(bundles: tuple[Bundle, ...]) -> None:
    first = bundles[0]
    for bundle in bundles[1:]:
        for field, ours, theirs in (
            ("weights", first.manifest.weights.tensors_sha256, bundle.manifest.weights.tensors_sha256),
            ("preprocessing", first.manifest.preprocessing, bundle.manifest.preprocessing),
            ("labels", first.labels(), bundle.labels()),
        ):
            if ours != theirs:
                raise UsageError(
                    f"{first.path} and {bundle.path} differ in their {field}: one comparison needs bundles of one "
                    "original; compare them one at a time"
                )


def _open_engines(
    stack: ExitStack, bundles: tuple[Bundle, ...], choices: tuple[EngineChoice, ...], request: CompareRequest
) -> list[tuple[str, Engine]]:
    """Return the engines with the bundles' names; the original in another precision comes once, first."""
    opened: list[tuple[str, Engine]] = []
    for bundle in bundles:
        chosen = choices or tuple(EngineChoice(name) for name in runnable_engines(bundle))
        if not chosen:
            raise EngineError("no engine is installed beside PyTorch: pip install 'export-ssl[cpu]'")
        for choice in chosen:
            # The original itself is always compared with; in another precision it comes once.
            if choice.name == ORIGINAL and (choice.precision is None or bundle is not bundles[0]):
                continue
            options = EngineOptions(
                threads=request.threads,
                precision=choice.precision,
                provider=choice.provider,
                device=request.device,
                weights=request.weights,
                share_cores=True,
            )
            engine = stack.enter_context(load_engine(bundle, choice.name, options))
            opened.append(("" if choice.name == ORIGINAL else str(bundle.path), engine))
    return opened


def _flops(original: PyTorchEngine, bundle: Bundle) -> FlopsReport:
    from runtime.original.flops import count_card_flops, count_pytorch_macs

    manifest = bundle.manifest
    card = manifest.card.flops if manifest.card else None
    network = original.network.cpu()
    return FlopsReport(
        pytorch_macs=count_pytorch_macs(network, manifest.preprocessing.image_size),
        onnx_macs=total_macs(bundle.layers()),
        card=card,
        card_recomputed=count_card_flops(network) if card is not None else None,
    )


def _report(
    request: CompareRequest,
    bundles: tuple[Bundle, ...],
    scores: Scores,
    *,
    names: list[str],
    flops: FlopsReport,
    data: DataReport,
) -> Comparison:
    manifest = bundles[0].manifest
    engines: tuple[EngineScore, ...] = tuple(
        score.model_copy(update={"bundle": name}) for score, name in zip(scores.engines, names, strict=True)
    )
    return Comparison(
        bundles=tuple(str(path) for path in request.bundles),
        model=manifest.model.name,
        weights=manifest.weights,
        licence=manifest.licence,
        data=data,
        original=scores.original,
        engines=engines,
        parameters=ParametersReport(pytorch=manifest.model.parameters, onnx=total_parameters(bundles[0].layers())),
        flops=flops,
        card=_card_accuracy(manifest),
    )


def _card_accuracy(manifest: Manifest) -> CardAccuracy | None:
    card = manifest.card
    if card is None or card.top1 is None or card.top5 is None:
        return None
    return CardAccuracy(top1=card.top1, top5=card.top5)
