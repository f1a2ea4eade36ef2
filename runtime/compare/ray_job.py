"""A comparison on Ray: the data set cut into pieces, which a pool of workers scores, and one report.

1. The driver lists the images, once, and sends each piece its part of the list; so the folder must be under the same
   path on all nodes. Bundles and checkpoint are sent to the nodes and checked there.
2. Pieces begin with a batch, so batches are those of one machine, and so are the counts. Logits may differ in their
   last bits between kinds of CPU and numbers of threads, as they do without Ray.
3. Answers are merged in the order of the pieces, whichever comes first, so that the report does not depend on it; an
   error is that of the first piece with one. What a dead worker had started is scored by another, and counts once.
"""

import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from runtime.bundle.results.compare_json import Comparison
from runtime.compare.job import Measured, OpenedRequest, end_comparison, open_request
from runtime.compare.ray_worker import CompareTask, PieceScorer, ScoredPiece
from runtime.compare.request import CompareRequest
from runtime.compare.score import score
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
    if not opened.bundles[0].manifest.model.classes:
        raise UsageError(
            f"--ray with {request.bundles[0]}, which has no classifier: its neighbours are counted in one process; "
            "leave --ray out"
        )
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
        rows = list(_rows(opened, piece_images, request.batch_size))
        with closing(pool_answers(rows, PieceScorer, task, choice)) as answers:
            total = _add_up(answers, len(rows), on_images)
        if total.unreadable and not request.skip_unreadable:
            raise unreadable_error(total.unreadable, known=opened.dataset.length)
        seconds = time.perf_counter() - began
    return end_comparison(request, opened, _measured(total, seconds))


def _add_up(answers: Iterable[Row], pieces: int, on_images: Callable[[int], None]) -> ScoredPiece:
    """Return what the answers amount to; rule 3.

    Raises:
        ExportSslError: A piece met an error, or was not answered.
    """
    total: ScoredPiece | None = None
    early: dict[int, Row] = {}
    images = added = 0
    for row in answers:
        early[row["number"]] = row
        images += row["images"]
        on_images(images)
        while added in early:
            piece = _read(early.pop(added))
            total = piece if total is None else total.merge(piece)
            added += 1
    if total is None or added != pieces:
        raise EngineError(f"Ray answered {added} of {pieces} pieces: expected all; start the comparison again")
    return total


def _measured(total: ScoredPiece, seconds: float) -> Measured:
    """Return what all pieces together say.

    Raises:
        DataError: No image could be read.
    """
    check_some_readable(total.tallies.original.images + len(total.unreadable), total.unreadable)
    assert total.flops is not None, "the first piece brings them"
    workers, nodes = len(total.workers), len({node for node, _ in total.workers})
    note = (
        f"on Ray, {counted(workers, 'worker')} on {counted(nodes, 'node')}: images/s of the original and the engines "
        "are one worker's, those of the data all workers' together, with the time in which they start"
    )
    return Measured(
        scores=score(total.tallies, seconds=seconds),
        bundles=total.ran.bundles,
        flops=total.flops,
        unreadable=total.unreadable,
        lost=total.lost,
        changes=total.changes,
        notes=(note,),
    )


def _read(row: Row) -> ScoredPiece:
    """Return what a worker answers.

    Raises:
        ExportSslError: The worker met an error.
    """
    raise_failure(row)
    scored: ScoredPiece = pickle.loads(row["scored"])  # noqa: S301 - made by our own worker
    return scored


def _rows(opened: OpenedRequest, images: int, batch_size: int) -> Iterator[Row]:
    """Yield the pieces as rows of Ray Data, each of whole batches but the last one."""
    assert isinstance(opened.dataset, Dataset), "streams are refused"
    whole_batches = -(-images // batch_size) * batch_size
    for piece in cut_dataset(opened.dataset, whole_batches):
        yield {"number": piece.number, "piece": pickle.dumps(piece)}


def _check_request(request: CompareRequest, choice: RayChoice) -> None:
    """Refuse what cannot be shared out.

    Raises:
        UsageError: The request cannot be shared out.
    """
    if not Path(request.data).exists() and request.data.partition("/")[0].lower() in PREFIXES:
        raise UsageError(
            f"--data {request.data} with --ray: expected a folder that all nodes see under the same path, since "
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
        root=absolute(request.root),
        native=absolute(request.native),
        # Workers count what they cannot read, so that one error names all.
        skip_unreadable=True,
        workers=request.workers or choice.cpus,
        threads=request.threads or choice.cpus,
        device="gpu" if choice.gpus else request.device,
    )
