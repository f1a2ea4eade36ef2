"""A comparison on Ray: the data set cut into pieces, which a pool of workers scores, and one report.

1. The driver lists the images, once, and sends each piece its part of the list; so the folder must be under the same
   path on all nodes. Bundles and checkpoint are sent to the nodes and checked there.
2. Pieces begin with a batch, so batches are those of one machine, and so are the counts. Logits may differ in their
   last bits between kinds of CPU and numbers of threads, as they do without Ray.
3. Answers are merged in the order of the pieces, whichever comes first, so that the report does not depend on it; an
   error is that of the first piece with one. What a dead worker had started is scored by another, and counts once.
4. Without a classifier the workers send embeddings back, the gallery's first, and neighbours are counted here, as
   without Ray. So this process holds all embeddings, as it does without Ray.
"""

import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import reduce
from itertools import islice
from pathlib import Path

from runtime.bundle.results.compare_json import Comparison
from runtime.compare.by_neighbours import count_neighbours
from runtime.compare.changes import count_changes
from runtime.compare.job import Measured, end_comparison, gallery_notes, open_request
from runtime.compare.ray_worker import CompareTask, PieceScorer, ScoredPiece
from runtime.compare.request import CompareRequest
from runtime.compare.score import score, score_by_neighbours
from runtime.data.batches import check_some_readable, unreadable_error
from runtime.data.dataset import Dataset, Stream
from runtime.data.pieces import cut_dataset
from runtime.data.timm_names import PREFIXES
from runtime.errors import EngineError, UsageError
from runtime.on_ray.answers import Row, raise_failure
from runtime.on_ray.attempts import count_attempts
from runtime.on_ray.choice import RayChoice, absolute, check_resources
from runtime.on_ray.connect import connected
from runtime.on_ray.pool import pool_answers
from runtime.on_ray.ship_bundle import pack_bundle
from runtime.on_ray.ship_file import pack_file
from runtime.original.checkpoint import check_file
from runtime.original.load_original import find_checkpoint
from runtime.support.words import counted

# About this many images per piece. Fewer, and a worker waits between pieces, each of which begins with nothing decoded;
# more, and with ImageNet's 50,000 the last ones keep a few workers busy while the others have nothing left.
_PIECE_IMAGES = 512


def run_comparison_on_ray(
    request: CompareRequest,
    choice: RayChoice,
    *,
    piece_images: int = _PIECE_IMAGES,
    on_start: Callable[[Dataset | Stream], None] = lambda _dataset: None,
    on_images: Callable[[int], None] = lambda _images: None,
) -> Comparison:
    """Compare the engines of some bundles with their PyTorch original, on Ray.

    Args:
        request: What to compare and how; `workers` and `threads` are those of one worker.
        choice: Number and size of the workers, and the cluster.
        piece_images: Images that a worker scores at a time; rounded up to whole batches.
        on_start: Called with the data set once Ray is there.
        on_images: Called after every piece with the number of images done so far.

    Raises:
        ExportSslError: Anything that stops it, in one line.
    """
    _check_request(request, choice)
    opened = open_request(request)
    checkpoint = find_checkpoint(opened.bundles[0], weights=request.weights)
    if checkpoint is not None:
        check_file(checkpoint)
    with connected(choice.address, next_step="start the comparison again") as ray:
        check_resources(ray, choice)
        task = CompareTask(
            request=_for_workers(request, choice),
            bundles=tuple(ray.put(pack_bundle(bundle)) for bundle in opened.bundles),
            weights=None if checkpoint is None else ray.put(pack_file(checkpoint)),
            attempts=count_attempts(ray),
        )
        on_start(opened.dataset)
        began = time.perf_counter()
        whole_batches = -(-piece_images // request.batch_size) * request.batch_size
        voting = [] if opened.gallery is None else list(_rows(opened.gallery, whole_batches))
        rows = list(_rows(opened.dataset, whole_batches, first=len(voting)))
        with closing(pool_answers(voting + rows, PieceScorer, task, choice)) as answers:
            in_turn = _in_turn(answers, len(voting) + len(rows), on_images, quiet=len(voting))
            voters = _add_up(islice(in_turn, len(voting))) if opened.gallery is not None else None
            total = _add_up(in_turn)
        for dataset, found in ((opened.gallery, voters), (opened.dataset, total)):
            if dataset is not None and found is not None:
                _check_readable(found, dataset, skip=request.skip_unreadable)
        measured = _measured(request, total, voters, began)
    return end_comparison(request, opened, measured)


def _in_turn(
    answers: Iterable[Row], pieces: int, on_images: Callable[[int], None], *, quiet: int
) -> Iterator[ScoredPiece]:
    """Yield what the answers say in the order of the pieces; rule 3.

    Args:
        answers: The workers', in any order.
        pieces: Number of pieces.
        on_images: Called after every piece but those of the gallery with the number of images done so far.
        quiet: Number of the gallery's pieces, which come first.

    Raises:
        ExportSslError: A piece met an error, or was not answered.
    """
    early: dict[int, Row] = {}
    images = passed = 0
    for row in answers:
        early[row["number"]] = row
        if row["number"] >= quiet:
            images += row["images"]
            on_images(images)
        while passed in early:
            yield _read(early.pop(passed))
            passed += 1
    if passed != pieces:
        raise EngineError(f"Ray answered {passed} of {pieces} pieces: expected all; start the comparison again")


def _add_up(pieces: Iterable[ScoredPiece]) -> ScoredPiece:
    """Return what pieces amount to; a data set has one at least.

    Raises:
        EngineError: Other engines ran in one than in another.
    """
    return reduce(ScoredPiece.merge, pieces)


def _check_readable(found: ScoredPiece, dataset: Dataset | Stream, *, skip: bool) -> None:
    """Refuse images that could not be read, or all of them where some may be left out.

    Raises:
        DataError: Too many could not be read.
    """
    if found.unreadable and not skip:
        raise unreadable_error(found.unreadable, known=dataset.length)
    check_some_readable(found.images + len(found.unreadable), found.unreadable)


def _measured(request: CompareRequest, total: ScoredPiece, voters: ScoredPiece | None, began: float) -> Measured:
    """Return what all pieces together say.

    Args:
        request: What was asked.
        total: All pieces of the images.
        voters: All pieces of the gallery, where there is one.
        began: When the first piece was given out, seconds of `time.perf_counter`.

    Raises:
        UsageError: There is no classifier, and too few images to ask for ten neighbours.
        DataError: There is no classifier, and one image alone.
    """
    assert total.flops is not None, "the first piece brings them"
    ran = total.workers | (voters.workers if voters is not None else frozenset())
    workers, nodes = len(ran), len({node for node, _ in ran})
    note = (
        f"on Ray, {counted(workers, 'worker')} on {counted(nodes, 'node')}: images/s of the original and the engines "
        "are one worker's, those of the data all workers' together, with the time in which they start"
    )
    if total.embedded is None:
        scores, changes = score(total.tallies, seconds=time.perf_counter() - began), total.changes
    else:
        found = count_neighbours(total.embedded, voters.embedded if voters is not None else None, total.tallies)
        scores = score_by_neighbours(found, seconds=time.perf_counter() - began)
        changes = count_changes(scores) if request.save else None
    return Measured(
        scores=scores,
        bundles=total.ran.bundles,
        flops=total.flops,
        unreadable=total.unreadable,
        lost=total.lost,
        changes=changes,
        notes=(*gallery_notes(request, voters.unreadable if voters is not None else ()), note),
    )


def _read(row: Row) -> ScoredPiece:
    """Return what a worker answers.

    Raises:
        ExportSslError: The worker met an error.
    """
    raise_failure(row)
    scored: ScoredPiece = pickle.loads(row["scored"])  # noqa: S301 - made by our own worker
    return scored


def _rows(dataset: Dataset | Stream, images: int, *, first: int = 0) -> Iterator[Row]:
    """Yield the pieces as rows of Ray Data, of so many images each but the last one, numbered from `first`."""
    assert isinstance(dataset, Dataset), "streams are refused"
    for piece in cut_dataset(dataset, images):
        yield {"number": first + piece.number, "piece": pickle.dumps(piece)}


def _check_request(request: CompareRequest, choice: RayChoice) -> None:
    """Refuse what cannot be shared out.

    Raises:
        UsageError: The request cannot be shared out.
    """
    for option, source in (("--data", request.data), ("--gallery", request.gallery)):
        if source is None or Path(source).exists() or source.partition("/")[0].lower() not in PREFIXES:
            continue
        raise UsageError(
            f"{option} {source} with --ray: expected a folder that all nodes see under the same path, since "
            "a data set that timm names is read by one process; store it as a folder of class folders, or leave "
            "--ray out"
        )
    if request.device == "gpu" and not choice.gpus:
        raise UsageError(
            "--device gpu with --ray: expected --ray-gpus 1, or a fraction for several workers on one GPU, "
            "since a worker sees only the GPUs that it is given"
        )


def _for_workers(request: CompareRequest, choice: RayChoice) -> CompareRequest:
    """Return a request as another process, in another folder, reads it."""
    return replace(
        request,
        data=str(Path(request.data).absolute()),
        gallery=None if request.gallery is None else str(Path(request.gallery).absolute()),
        root=absolute(request.root),
        native=absolute(request.native),
        # Workers count what they cannot read, so that one error names all.
        skip_unreadable=True,
        workers=request.workers or choice.cpus,
        threads=request.threads or choice.cpus,
        device="gpu" if choice.gpus else request.device,
    )
