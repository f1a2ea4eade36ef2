"""What a job is asked to do."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runtime.bundle.manifest import Depth16
from runtime.data.sources.open_source import InputChoice
from runtime.errors import UsageError

DEFAULT_BATCH_SIZE = 32
# Images per part where nothing is said, to the next multiple of the batch size: 17 MB of a ResNet-18's embeddings. A
# killed job loses what it did of a part at most, half a minute on two cores; a billion images are 122,000 parts.
DEFAULT_PART_IMAGES = 8192

Format = Literal["parquet", "lance", "npy"]
Dtype = Literal["float32", "float16"]


@dataclass(frozen=True)
class OutputChoice:
    """What is written of each image.

    Attributes:
        format: `parquet`; `lance`, a data set of Lance; or `npy` with the keys beside it.
        dtype: Number type of the embeddings.
        normalise: Whether embeddings are divided by their L2 norm.
        top_k: Number of best classes to write with their probabilities; 0 for none.
    """

    format: Format = "parquet"
    dtype: Dtype = "float32"
    normalise: bool = False
    top_k: int = 0


@dataclass(frozen=True)
class EmbedRequest:
    """A job.

    Attributes:
        bundle: The bundle's directory.
        images: A folder, lists, tar shards, Parquet files, or image files.
        output: The directory to make, or to go on with.
        reading: How the images are to be read.
        writing: What is written of each.
        engine: `NAME` or `NAME:PRECISION`; `auto` for the fastest that runs here.
        batch_size: Images per inference.
        part_images: Images per part, a multiple of `batch_size`; None for about `DEFAULT_PART_IMAGES`.
        workers: Decoding threads; None for one per core.
        threads: Threads for one inference; None leaves the engine's choice.
        device: `cpu` or `gpu`.
        weights: Checkpoint, for the engine `pytorch`.
        native: The C library, which preprocesses instead of Pillow, to the same bytes; None for Pillow.
        exif_rotate: Whether images are turned by their EXIF orientation; False leaves the bundle's choice.
        depth16: What becomes of 16-bit greyscale; None leaves the bundle's choice.
        overwrite: Whether an existing output is deleted and started over, instead of resumed.
        append: Whether images that are new are added to a finished output (`runtime/embed/append.py`).
    """

    bundle: Path
    images: tuple[Path, ...]
    output: Path
    reading: InputChoice = field(default_factory=InputChoice)
    writing: OutputChoice = field(default_factory=OutputChoice)
    engine: str = "auto"
    batch_size: int = DEFAULT_BATCH_SIZE
    part_images: int | None = None
    workers: int | None = None
    threads: int | None = None
    device: str = "cpu"
    weights: Path | None = None
    native: Path | None = None
    exif_rotate: bool = False
    depth16: Depth16 | None = None
    overwrite: bool = False
    append: bool = False


def images_per_part(request: EmbedRequest) -> int:
    """Return how many images a part is made from.

    Raises:
        UsageError: The number asked for is no multiple of the batch size.
    """
    batch = request.batch_size
    if request.part_images is None:
        return -(-DEFAULT_PART_IMAGES // batch) * batch
    if request.part_images % batch:
        raise UsageError(
            f"--part-images {request.part_images}: expected a multiple of --batch-size {batch}, so that a resumed job "
            f"runs the same batches; {-(-request.part_images // batch) * batch} is one"
        )
    return request.part_images
