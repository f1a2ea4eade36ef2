"""A whole job on this machine: list the images, open the engine, make the parts that are not there, end it."""

import importlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.data.sources.entries import KeyDigest, Listing, Source, list_entries
from runtime.data.sources.open_source import open_source
from runtime.data.sources.parquet_table import ParquetSource
from runtime.embed.append import find_new_images
from runtime.embed.opening import describe_place, open_engine
from runtime.embed.output.directory import add_up, check_output, opened_output, write_unreadable
from runtime.embed.output.identity import Job, describe_job, require_same_job
from runtime.embed.output.lance_part import commit_parts
from runtime.embed.output.part_files import read_part
from runtime.embed.output.places import note_places
from runtime.embed.pieces import Piece, cut_pieces
from runtime.embed.request import EmbedRequest, Format, images_per_part
from runtime.embed.run_parts import Place, embed_pieces
from runtime.engines.facts import describe_engine, describe_hardware
from runtime.errors import DataError, UsageError
from runtime.images.formats import PassedOver
from runtime.images.losses import Losses

# Modules that must be there.
_WRITTEN_BY: Mapping[Format, tuple[str, ...]] = {
    "parquet": ("pyarrow.parquet",),
    "lance": ("pyarrow", "lance"),
    "npy": (),
}
_CHANGED = (
    "the images changed while the job ran: expected the same ones from start to end; pass --overwrite to start over"
)


@dataclass(frozen=True)
class JobListener:
    """Receiver of a job's progress.

    Attributes:
        on_stage: Called with what is being done before the first image, in words.
        on_start: Called with how many images there are, and how many of them an earlier run did.
        on_images: Called with how many are done.
    """

    on_stage: Callable[[str], None] = lambda _stage: None
    on_start: Callable[[int, int], None] = lambda _images, _done: None
    on_images: Callable[[int], None] = lambda _done: None


@dataclass(frozen=True)
class JobResult:
    """What a run of a job did.

    Attributes:
        output: The directory.
        images: The job's images.
        rows: Number of images that have a row.
        unreadable: Number of images that have none.
        parts: The job's parts.
        images_before: Images that an earlier run had done.
        seconds: Time from the first image that this run read to the end.
        unreadable_file: Where the images without a row are listed; None where all have one.
        engine: What ran it.
        executes: The precision that it computed in, in words.
        lost: What the job's images lost on their way to the network.
        repeated: Number of rows whose embedding equals that of another file in the same part.
        passed_over: Ending to how many files are no image, and were passed over.
    """

    output: Path
    images: int
    rows: int
    unreadable: int
    parts: int
    images_before: int
    seconds: float
    unreadable_file: Path | None
    engine: str
    executes: str
    lost: Losses
    repeated: int
    passed_over: Mapping[str, int] = field(default_factory=dict)

    @property
    def images_per_s(self) -> float:
        """Images that this run did per second; 0 where an earlier one had done all."""
        return (self.images - self.images_before) / self.seconds if self.images > self.images_before else 0.0


def run_embedding(request: EmbedRequest, listener: JobListener | None = None) -> JobResult:
    """Do a job, or what is left of it.

    Raises:
        ExportSslError: Anything that stops it, in one line. Finished parts are kept, and the same call resumes.
        KeyboardInterrupt: The user did.
    """
    listener = listener or JobListener()
    bundle, source = open_inputs(request, listener)
    passed_over = PassedOver()
    addition = find_new_images(request.output, source) if request.append else None
    source = source if addition is None else addition.images
    listing = list_source(source, listener, passed_over, may_be_empty=addition is not None)
    listener.on_stage("open the engine")
    with open_engine(request, bundle) as engine:
        earlier = addition.earlier if addition is not None else ()
        hardware = describe_hardware(engine)
        job = describe_job(request, bundle, describe_engine(engine), listing, hardware=hardware, earlier=earlier)
        adds_to = addition.found if addition is not None and addition.begins else None
        if adds_to is not None:
            kept = {"images": adds_to.images, "earlier": adds_to.earlier}
            require_same_job(request.output, adds_to, job.model_copy(update=kept))
            job = job if listing.images else adds_to
        place = describe_place(request, bundle, job=job, source=source, engine=engine)
        with opened_output(request.output, job, bundle, overwrite=request.overwrite, adds_to=adds_to):
            note_places(request)
            if not listing.images:
                listed = Listing(job.images.count, job.images.keys_sha256)
                result = end_job(request.output, job, seen=listed, before=job.all_images, seconds=0.0)
            else:
                result = _run(place, listener)
            return replace(result, passed_over=passed_over)


def open_inputs(request: EmbedRequest, listener: JobListener) -> tuple[Bundle, Source]:
    """Return the bundle and the images of a job, all that is quick to check checked.

    Raises:
        UsageError: The request contradicts itself.
        BundleError: The bundle or the output cannot be used.
        DataError: The images cannot be found.
        ModuleNotFoundError: Parquet or Lance is wanted, and pyarrow or pylance is not installed.
    """
    images_per_part(request)
    # Else its absence would show at the first part only, after all images were listed.
    for module in _WRITTEN_BY[request.writing.format]:
        importlib.import_module(module)
    check_output(request.output, overwrite=request.overwrite)
    listener.on_stage("open the bundle")
    bundle = open_bundle(request.bundle)
    classes = bundle.manifest.model.classes
    if request.writing.top_k and not classes:
        raise UsageError(
            f"--top-k {request.writing.top_k}, but {request.bundle} has no classifier: leave the option out"
        )
    if request.writing.top_k > classes:
        raise UsageError(f"--top-k {request.writing.top_k}: expected at most the network's {classes} classes")
    source = open_source(request.images, request.reading)
    _refuse_own_output(request, source)
    return bundle, source


def list_source(
    source: Source, listener: JobListener, passed_over: PassedOver, *, may_be_empty: bool = False
) -> Listing:
    """Return how many images a job has, and which.

    Args:
        source: The images.
        listener: Receiver of the progress.
        passed_over: Counts what is there and is no image.
        may_be_empty: Whether there may be no image.

    Raises:
        DataError: The images cannot be listed, or there is none.
    """
    listener.on_stage(f"list the images of {source.what}")
    listing = list_entries(source, passed_over)
    if not listing.images and not may_be_empty:
        raise DataError(f"{source.what} has no image: expected at least one; check the path")
    return listing


def _refuse_own_output(request: EmbedRequest, source: Source) -> None:
    """Refuse an output among the Parquet files that are read: a resumed job would read its own parts.

    Raises:
        UsageError: The output is there.
    """
    if not isinstance(source, ParquetSource):
        return
    output = request.output.resolve()
    for folder in request.images:
        if folder.is_dir() and output.is_relative_to(folder.resolve()):
            raise UsageError(
                f"--output {request.output} is inside {folder}, whose Parquet files are read: pass another --output"
            )


def _run(place: Place, listener: JobListener) -> JobResult:
    """Make the parts that are not there yet, and end the job."""
    output, job = place.output, place.job
    before = add_up(output, job)
    listener.on_start(job.all_images, before.images)
    began = time.perf_counter()
    digest = KeyDigest()
    pieces = cut_pieces(digest.watch(place.source.entries()), job.part_images, first=job.first_part)
    done = before.images

    def count(images: int) -> None:
        nonlocal done
        done += images
        listener.on_images(done)

    try:
        with closing(embed_pieces(missing_pieces(pieces, output, job.parts), place, on_images=count)) as records:
            for _ in records:
                pass
    except KeyboardInterrupt:
        raise KeyboardInterrupt(how_far(output, job)) from None
    return end_job(place.output, job, seen=digest.listing(), before=before.images, seconds=time.perf_counter() - began)


def missing_pieces(pieces: Iterable[Piece], output: Path, parts: int) -> Iterator[Piece]:
    """Yield the pieces whose parts are not there.

    Raises:
        DataError: There are more images than were listed.
        BundleError: A part is damaged.
    """
    for piece in pieces:
        if piece.number >= parts:
            raise DataError(_CHANGED)
        if read_part(output, piece.number) is None:
            yield piece


def how_far(output: Path, job: Job) -> str:
    """Return in words what an interrupted job leaves."""
    done = add_up(output, job).images
    return f"{done} of {job.all_images} images are in {output}; run the same command again to resume"


def end_job(output: Path, job: Job, *, seen: Listing, before: int, seconds: float) -> JobResult:
    """Write what stands at the end of an output, and return what was done.

    Args:
        output: The output's directory, with all its parts.
        job: The job.
        seen: What the images were while the parts were made.
        before: Images that an earlier run had done.
        seconds: How long this one took.

    Raises:
        DataError: The images are not those that were listed before.
        BundleError: The disk cannot take it.
    """
    if seen != Listing(job.images.count, job.images.keys_sha256):
        raise DataError(_CHANGED)
    totals = add_up(output, job)
    assert totals.images == job.all_images, "a job ends when all its parts are made"
    if job.rows.format == "lance":
        commit_parts(output, job)
    return JobResult(
        output=output,
        images=totals.images,
        rows=totals.rows,
        unreadable=totals.unreadable,
        parts=totals.parts,
        images_before=before,
        seconds=seconds,
        unreadable_file=write_unreadable(output, job),
        engine=job.engine.name,
        executes=job.engine.executes,
        lost=totals.lost,
        repeated=totals.repeated,
    )
