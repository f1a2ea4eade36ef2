"""One comparison from start to end: open the bundles, the data, the original and the engines, and run them."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.layers import total_parameters
from runtime.bundle.manifest import Manifest
from runtime.bundle.results.compare_json import (
    CardAccuracy,
    Comparison,
    DataReport,
    EngineScore,
    FlopsReport,
    NeighbourVote,
    ParametersReport,
)
from runtime.compare.chance import describe_chance
from runtime.compare.changes import ChangeCollector, FoundChanges, count_changes, save_comparison
from runtime.compare.opening import count_flops, make_transform, open_batches, open_engines
from runtime.compare.request import CompareRequest
from runtime.compare.score import Scores, compare, compare_by_neighbours
from runtime.data.batches import Unreadable
from runtime.data.dataset import Dataset, Stream
from runtime.data.open_images import open_images
from runtime.data.sources.open_source import IMAGES, find_kind
from runtime.engines.open_engine import parse_engine
from runtime.errors import DataError, UsageError
from runtime.images.losses import Losses, describe_repeats
from runtime.neighbours.weighted_knn import NEIGHBOURS, TEMPERATURE
from runtime.support.words import first_few


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
    opened = open_request(request)
    first = opened.bundles[0]
    with ExitStack() as stack:
        engines = open_engines(stack, opened.bundles, request)
        transform = make_transform(first, request)
        loader = stack.enter_context(open_batches(opened.dataset, first, request, transform, engines=engines))
        voters = None
        if opened.gallery is not None:
            voters = stack.enter_context(open_batches(opened.gallery, first, request, transform, engines=engines))
        on_start(opened.dataset)
        collector = ChangeCollector(opened.dataset, first.labels(), len(engines.engines)) if request.save else None
        if first.manifest.model.classes:
            scores = compare(
                loader,
                original=engines.original,
                engines=engines.engines,
                on_batch=on_batch,
                on_pair=collector.add if collector is not None else None,
            )
            changes = collector.found if collector is not None else None
        else:
            scores = compare_by_neighbours(
                loader, original=engines.original, engines=engines.engines, gallery=voters, on_batch=on_batch
            )
            changes = count_changes(scores) if request.save else None
        flops = count_flops(engines.original.network.cpu(), first)
    measured = Measured(
        scores=scores,
        bundles=engines.bundles,
        flops=flops,
        unreadable=tuple(loader.unreadable),
        lost=loader.lost,
        changes=changes,
        notes=gallery_notes(request, () if voters is None else voters.unreadable),
    )
    return end_comparison(request, opened, measured)


def gallery_notes(request: CompareRequest, unreadable: Sequence[Unreadable]) -> tuple[str, ...]:
    """Return what a person should know about how the gallery was read."""
    if not unreadable:
        return ()
    names = first_few([image.name for image in unreadable])
    return (f"{len(unreadable)} images of {request.gallery} are unreadable and were skipped ({names})",)


@dataclass(frozen=True)
class OpenedRequest:
    """What a request names, checked, before any engine is opened.

    Attributes:
        bundles: The bundles.
        dataset: The images.
        gallery: Images whose neighbours vote; None where there is a classifier, or the images vote for each other.
    """

    bundles: tuple[Bundle, ...]
    dataset: Dataset | Stream
    gallery: Dataset | Stream | None = None


@dataclass(frozen=True)
class Measured:
    """What was found out by running.

    Attributes:
        scores: Scores of the original and the engines.
        bundles: Number of each engine's bundle; None where the engine is the original in another precision.
        flops: Multiply-accumulates.
        unreadable: The images left out.
        lost: What the images lost on their way to the network.
        changes: The changed images, where they are to be kept.
        notes: What a person should know about how it was run.
    """

    scores: Scores
    bundles: tuple[int | None, ...]
    flops: FlopsReport
    unreadable: tuple[Unreadable, ...]
    lost: Losses
    changes: FoundChanges | None
    notes: tuple[str, ...] = ()


def open_request(request: CompareRequest) -> OpenedRequest:
    """Return the bundles and the data set that a request names.

    Raises:
        ExportSslError: One cannot be used, or the bundles are not of one original.
    """
    for name in request.engines:
        parse_engine(name)
    bundles = tuple(open_bundle(path) for path in request.bundles)
    _require_one_original(bundles)
    labels = bundles[0].labels()
    dataset = open_images(
        request.data,
        labels,
        labels_file=request.labels,
        limit=request.limit,
        seed=request.seed,
        split=request.split,
        root=request.root,
        image_column=request.image_column,
        label_column=request.label_column,
    )
    if request.gallery is None:
        return OpenedRequest(bundles, dataset)
    if labels:
        raise UsageError(
            f"--gallery {request.gallery} is for networks without a classifier, and {bundles[0].path} has one: "
            "leave the option out"
        )
    gallery = _open_gallery(request, request.gallery)
    return OpenedRequest(bundles, _with_classes_of(gallery, dataset, request), gallery)


def _open_gallery(request: CompareRequest, source: str) -> Dataset | Stream:
    """Return the images that vote; options of columns and paths hold for them if both are of one kind."""
    if _kind_of(source) != _kind_of(request.data):
        return open_images(source, (), split=request.split)
    return open_images(
        source,
        (),
        split=request.split,
        root=request.root,
        image_column=request.image_column,
        label_column=request.label_column,
    )


def _kind_of(source: str) -> str | None:
    """Return what lies at a path, in words; None for the name of a data set."""
    path = Path(source)
    return find_kind(path, otherwise=IMAGES) if path.exists() else None


def _with_classes_of(gallery: Dataset | Stream, dataset: Dataset | Stream, request: CompareRequest) -> Dataset | Stream:
    """Return the images with the gallery's class indices; where one of the two has no class names, indices are equal.

    Raises:
        DataError: A class of the images is not one of the gallery's.
    """
    if isinstance(gallery, Stream) or isinstance(dataset, Stream) or not gallery.classes or not dataset.classes:
        return dataset
    missing = [name for name in dataset.classes if name not in gallery.classes]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(dataset.classes)} classes of {request.data} are not among the "
            f"{len(gallery.classes)} of --gallery {request.gallery} ({first_few(missing)}): expected class folders of "
            "the same names in both"
        )
    index = [gallery.classes.index(name) for name in dataset.classes]
    images = tuple(replace(image, label=index[image.label]) for image in dataset.images)
    return replace(dataset, images=images, classes=gallery.classes)


def end_comparison(request: CompareRequest, opened: OpenedRequest, measured: Measured) -> Comparison:
    """Return the report, saved where that is asked for.

    Raises:
        BundleError: The result cannot be saved.
    """
    data = _data_report(request.data, opened.dataset, measured.scores, measured.unreadable, _notes(opened, measured))
    comparison = _report(request, opened.bundles, measured, data)
    if measured.changes is not None:
        who = [(score.bundle, score.engine, score.precision) for score in comparison.engines]
        save_comparison(request.bundles, comparison, measured.changes.of_engines(who))
    return comparison


def _notes(opened: OpenedRequest, measured: Measured) -> tuple[str, ...]:
    """Return what a person should know about how it was run, and what the images were like."""
    original = measured.scores.original
    manifest = opened.bundles[0].manifest
    what = "scores of the original" if manifest.model.classes else "embeddings of the original"
    repeats = describe_repeats(original.repeated, original.images, what=what)
    # Of random weights nobody expects more.
    chance = describe_chance(original, manifest.model.classes) if manifest.weights.source != "random" else ()
    return (*measured.notes, *measured.lost.sentences(), *repeats, *chance)


def _data_report(
    source: str,
    dataset: Dataset | Stream,
    scores: Scores,
    skipped: Sequence[Unreadable],
    further_notes: tuple[str, ...] = (),
) -> DataReport:
    """Return what was compared on, with a note where a stream was shorter or longer than it said."""
    came, notes = scores.original.images + len(skipped), (*dataset.notes, *further_notes)
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


def _require_one_original(bundles: tuple[Bundle, ...]) -> None:
    first = bundles[0]
    for second in bundles[1:]:
        for field, of_first, of_second in (
            ("weights", first.manifest.weights.tensors_sha256, second.manifest.weights.tensors_sha256),
            ("preprocessing", first.manifest.preprocessing, second.manifest.preprocessing),
            ("labels", first.labels(), second.labels()),
        ):
            if of_first != of_second:
                raise UsageError(
                    f"{first.path} and {second.path} differ in their {field}: one comparison needs bundles of the "
                    "same original; compare them one at a time"
                )


def _report(request: CompareRequest, bundles: tuple[Bundle, ...], measured: Measured, data: DataReport) -> Comparison:
    manifest = bundles[0].manifest
    names = ["" if number is None else str(bundles[number].path) for number in measured.bundles]
    engines: tuple[EngineScore, ...] = tuple(
        score.model_copy(update={"bundle": name}) for score, name in zip(measured.scores.engines, names, strict=True)
    )
    return Comparison(
        bundles=tuple(str(path) for path in request.bundles),
        model=manifest.model.name,
        weights=manifest.weights,
        licence=manifest.licence,
        data=data,
        original=measured.scores.original,
        engines=engines,
        parameters=ParametersReport(pytorch=manifest.model.parameters, onnx=total_parameters(bundles[0].layers())),
        flops=measured.flops,
        card=_card_accuracy(manifest) if manifest.model.classes else None,
        neighbour_vote=None if manifest.model.classes else _vote(request, measured.scores),
    )


def _vote(request: CompareRequest, scores: Scores) -> NeighbourVote:
    return NeighbourVote(
        neighbours=NEIGHBOURS,
        temperature=TEMPERATURE,
        gallery=request.gallery,
        gallery_images=scores.gallery_images or scores.original.images,
    )


def _card_accuracy(manifest: Manifest) -> CardAccuracy | None:
    card = manifest.card
    if card is None or card.top1 is None or card.top5 is None:
        return None
    return CardAccuracy(top1=card.top1, top5=card.top5)
