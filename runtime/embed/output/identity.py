"""What makes two runs the same job, kept in the output's `_job.json`; a run resumes only its own output.

Everything is in it that a row depends on: bundle, engine with its version, what it executes and on what hardware, the
images' keys in their order, batches, parts and what is written. Threads, decoders and the number of cores are not: rows
do not depend on them.
"""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.bundle.bundle import Bundle
from runtime.bundle.layout import MANIFEST_FILE
from runtime.bundle.manifest import Depth16, Licence, with_choices
from runtime.data.sources.entries import Listing
from runtime.embed.request import Dtype, EmbedRequest, Format, images_per_part
from runtime.engines.facts import EngineFacts
from runtime.engines.open_engine import EngineChoice, parse_engine
from runtime.errors import BundleError
from runtime.support.files import hash_file, read_plain
from runtime.support.json_file import first_problem, parse_json, write_model
from runtime.support.ort_providers import PROVIDERS

JOB_FILE = "_job.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BundleFacts(_Part):
    """The bundle that a job runs.

    Attributes:
        model: Name of the network.
        precision: Precision in the graph.
        weights_sha256: sha256 over all tensors of the weights.
        manifest_sha256: sha256 of the bundle's manifest.
        classes: Number of classes; 0 without a classifier.
        embedding_dim: Length of an embedding.
        licence: Licence of the weights, which holds for the embeddings too.
    """

    model: str
    precision: str
    weights_sha256: str
    manifest_sha256: str
    classes: int = Field(ge=0)
    embedding_dim: int = Field(ge=1)
    licence: Licence


class ImageFacts(_Part):
    """The images, by their keys in order; see `runtime/data/sources/entries.py`.

    Attributes:
        count: Number of images.
        keys_sha256: sha256 over the keys.
    """

    count: int = Field(ge=0)
    keys_sha256: str


class RowFacts(_Part):
    """What is written for each image.

    Attributes:
        format: Kind of the parts.
        dtype: Element type of the embeddings.
        normalised: Whether each embedding is divided by its L2 norm.
        top_k: Number of best classes that are written too; 0 for none.
    """

    format: Format
    dtype: Dtype
    normalised: bool
    top_k: int = Field(ge=0)


class ReadingFacts(_Part):
    """How image files are read, where there is a choice.

    Attributes:
        exif_rotate: Whether images are turned by their EXIF orientation.
        depth16: What becomes of 16-bit greyscale.
    """

    exif_rotate: bool
    depth16: Depth16


class Job(_Part):
    """All of `_job.json`.

    Attributes:
        schema_version: Raised when a meaning changes, or where the parts lie.
        bundle: The bundle that runs.
        engine: The engine that runs it.
        images: The images, in order; of an output that was added to, the last ones.
        reading: How image files are read.
        rows: What is written for each image.
        batch_size: Images per inference.
        part_images: Images per part; the last part may have fewer.
        tool: Version of export-ssl that began the job.
        hardware: Instructions of the processor that kernels are chosen by, or the name of the GPU.
        device: `cpu`, `gpu`, or a provider's name; see `runtime.support.ort_providers.Provider.device`.
        earlier: The images before, each time that `--append` added some, the oldest first.
    """

    schema_version: Literal[2] = 2
    bundle: BundleFacts
    engine: EngineFacts
    device: str
    hardware: str
    images: ImageFacts
    reading: ReadingFacts
    rows: RowFacts
    batch_size: int = Field(ge=1)
    part_images: int = Field(ge=1)
    tool: str
    earlier: tuple[ImageFacts, ...] = ()

    @property
    def parts(self) -> int:
        """How many parts all images make; each time that some were added, they begin a part."""
        return self.first_part + self._parts_of(self.images)

    @property
    def first_part(self) -> int:
        """Number of the first part that `images` make."""
        return sum(self._parts_of(images) for images in self.earlier)

    @property
    def all_images(self) -> int:
        """How many images there are, those of earlier times too."""
        return sum(images.count for images in (*self.earlier, self.images))

    def _parts_of(self, images: ImageFacts) -> int:
        return -(-images.count // self.part_images)


def describe_job(
    request: EmbedRequest,
    bundle: Bundle,
    engine: EngineFacts,
    listing: Listing,
    *,
    hardware: str,
    earlier: tuple[ImageFacts, ...] = (),
) -> Job:
    """Return the identity of a job; `earlier` are the images that its output had before."""
    manifest = bundle.manifest
    writing = request.writing
    contract = with_choices(manifest.preprocessing, exif_rotate=request.exif_rotate, depth16=request.depth16)
    return Job(
        bundle=BundleFacts(
            model=manifest.model.name,
            precision=manifest.precision.name,
            weights_sha256=manifest.weights.tensors_sha256,
            manifest_sha256=hash_file(bundle.path / MANIFEST_FILE),
            classes=manifest.model.classes,
            embedding_dim=manifest.model.embedding_dim,
            licence=manifest.licence,
        ),
        engine=engine,
        device=_device(request, engine),
        hardware=hardware,
        images=ImageFacts(count=listing.images, keys_sha256=listing.keys_sha256),
        reading=ReadingFacts(exif_rotate=contract.exif_rotate, depth16=contract.depth16),
        rows=RowFacts(format=writing.format, dtype=writing.dtype, normalised=writing.normalise, top_k=writing.top_k),
        batch_size=request.batch_size,
        part_images=images_per_part(request),
        tool=f"export-ssl {metadata.version('export-ssl')}",
        earlier=earlier,
    )


def _device(request: EmbedRequest, engine: EngineFacts) -> str:
    """Return where a job's engine runs; see `Job`."""
    provider = parse_engine(request.engine).provider
    if provider is not None:
        return PROVIDERS[provider].device
    return "gpu" if EngineChoice(engine.name).runs_on_gpu(request.device) else "cpu"


def read_job(output: Path) -> Job | None:
    """Return the job that an output is of, or None where there is none yet.

    Raises:
        BundleError: The file is there and is not one, or is of an older layout.
    """
    file = output / JOB_FILE
    if not file.exists():
        return None
    try:
        text = read_plain(file)
        _refuse_older(output, text)
        return Job.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(
            f"{file} is not the description of a job ({first_problem(error)}): pass another --output, or --overwrite"
        ) from error
    except OSError as error:
        raise BundleError(f"{file} cannot be read ({error.strerror}): pass another --output") from error


def _refuse_older(output: Path, text: bytes) -> None:
    """Refuse the output of a version that put its parts elsewhere, and gave their columns other types.

    Raises:
        BundleError: The output is one.
    """
    try:
        raw = parse_json(text)
    except ValueError:
        return
    newest = Job.model_fields["schema_version"].default
    if isinstance(raw, dict) and isinstance(version := raw.get("schema_version"), int) and version < newest:
        raise BundleError(
            f"{output} has the layout of {raw.get('tool')} (schema version {version}, expected {newest}): run the same "
            "command with --overwrite to make it anew, or finish it with that version"
        )


def write_job(output: Path, job: Job) -> None:
    """Write `_job.json`.

    Raises:
        BundleError: The disk cannot take it.
    """
    write_model(output / JOB_FILE, job)


def require_same_job(output: Path, found: Job, asked: Job) -> None:
    """Refuse to go on with the output of another job.

    Raises:
        BundleError: The jobs differ; the message names the first field, and both values.
    """
    if found.earlier and not asked.earlier:
        raise BundleError(
            f"{output} was added to: pass --append to go on or to add what is new, another --output, or --overwrite to "
            "start over"
        )
    difference = next(_differences(found.model_dump(), asked.model_dump()), None)
    if difference is not None:
        field, there, here = difference
        more = asked.images.count > found.images.count and field.startswith("images.")
        then = "pass --append to embed only images that are new, another" if more else "pass another"
        raise BundleError(
            f"{output} is the output of another job: its {field} is {there}, this one's is {here}; {then} "
            "--output, or --overwrite to start over"
        )


def require_still(output: Path, job: Job) -> None:
    """Refuse to put a part into an output that was started over as another job since this one opened it.

    No lock tells a worker of Ray: its command may have died, and its node may not have heard of it yet.

    Raises:
        BundleError: The output is of another job by now, or of none.
    """
    if read_job(output) != job:
        raise BundleError(
            f"{output} was started over as another job while this one ran: expected one job at a time; pass another "
            "--output to one of them"
        )


def _differences(found: dict[str, Any], asked: dict[str, Any], above: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the fields in which two of these differ, with both values."""
    for name, there in found.items():
        here = asked[name]
        if isinstance(there, dict):
            yield from _differences(there, here, f"{above}{name}.")
        elif there != here:
            yield f"{above}{name}", str(there), str(here)
