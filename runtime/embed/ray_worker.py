"""What one worker of Ray does: it opens the bundle's engine once, and makes part after part."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from runtime.bundle.bundle import Bundle
from runtime.data.sources.entries import Source
from runtime.embed.opening import describe_place, open_engine
from runtime.embed.output.identity import Job, read_job
from runtime.embed.output.part_files import read_part
from runtime.embed.output.pieces_on_disk import read_piece, record_attempt
from runtime.embed.request import EmbedRequest
from runtime.embed.run_parts import Place, embed_pieces
from runtime.engines.facts import EngineFacts, describe_engine, describe_hardware
from runtime.errors import BundleError, EngineError
from runtime.on_ray.answers import Row, answer, check_seen, here
from runtime.on_ray.ship_bundle import PackedBundle, unpack_bundle


@dataclass(frozen=True)
class Task:
    """What every worker is given.

    Attributes:
        request: The job, its paths absolute.
        source: The images.
        root: The source's `root`, absolute: a cluster's workers start in a folder of their own.
        bundle: A reference to the packed bundle in Ray's memory.
    """

    request: EmbedRequest
    source: Source
    root: Path
    bundle: Any


@dataclass(frozen=True)
class _Opened:
    bundle: Bundle
    job: Job
    place: Place


class PartMaker:
    """Makes parts; Ray Data keeps some of these, each in a process of its own."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __call__(self, row: Row) -> Row:
        """Make the part of one piece.

        Args:
            row: `number`, the piece's.

        Returns:
            `number`, `images`, and `kind` and `failure`, empty where the part is made.
        """
        number = int(row["number"])
        try:
            output = self._task.request.output
            # A worker that died after its last act is asked again.
            record = read_part(output, number)
            if record is None:
                piece = read_piece(output, number)
                record_attempt(output, piece)
                (record,) = embed_pieces([piece], self._opened.place)
        except Exception as error:  # noqa: BLE001 - whatever a worker meets ends the job with its reason
            return answer(number, images=0, failure=error)
        return answer(number, images=record.images)

    @cached_property
    def _opened(self) -> _Opened:
        """The engine, opened with the first piece, and the job that the output is of."""
        request = self._task.request
        check_seen(self._task.root)
        job = read_job(request.output)
        if job is None:
            raise BundleError(f"{here()} finds no job in {request.output}: expected a directory that all nodes share")
        bundle = _unpack(self._task.bundle)
        engine = open_engine(request, bundle)
        _check_engine(job.engine, describe_engine(engine))
        _check_hardware(job.hardware, describe_hardware(engine))
        return _Opened(bundle, job, describe_place(request, bundle, job=job, source=self._task.source, engine=engine))


def probe_engine(task: Task) -> tuple[EngineFacts, str] | Row:
    """Return what engine a worker opens and on what hardware, or its failure as `PartMaker` answers it."""
    try:
        check_seen(task.root)
        with open_engine(task.request, _unpack(task.bundle)) as engine:
            return describe_engine(engine), describe_hardware(engine)
    except Exception as error:  # noqa: BLE001 - as above
        return answer(-1, images=0, failure=error)


def _unpack(reference: Any) -> Bundle:
    import ray

    packed: PackedBundle = ray.get(reference)
    return unpack_bundle(packed)


def _check_engine(wanted: EngineFacts, found: EngineFacts) -> None:
    """Refuse a node whose engine is another.

    Raises:
        EngineError: The node has another engine.
    """
    for field in ("name", "version", "executes"):
        asked, opened = getattr(wanted, field), getattr(found, field)
        if asked != opened:
            raise EngineError(
                f"{here()} has an engine whose {field} is {opened}, but the job's is {asked}: install the same on "
                "all nodes"
            )


def _check_hardware(wanted: str, found: str) -> None:
    """Refuse a node whose kernels would give other bits.

    Raises:
        EngineError: The node has another processor or GPU.
    """
    if wanted != found:
        raise EngineError(
            f"{here()} computes on {found}, but the job on {wanted}, and the last bits would differ: run the job on "
            "nodes of one kind"
        )
