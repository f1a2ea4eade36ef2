"""What `run-ssl compare` is asked."""

from dataclasses import dataclass
from pathlib import Path

from runtime.bundle.manifest import Depth16

# Large enough that the call costs nothing beside the convolutions, small enough for any memory.
DEFAULT_BATCH_SIZE = 32


@dataclass(frozen=True)
class CompareRequest:
    """What to compare and how.

    Attributes:
        bundles: Bundles of one original: the same weights and preprocessing, any precision.
        data: Labelled images: a folder, file or list, or a data-set name that timm takes.
        engines: `NAME` or `NAME:PRECISION`, run on every bundle; empty for all that are installed.
            `pytorch:fp16` is the original in FP16, once.
        weights: The original's checkpoint; None looks for the one named in the manifest.
        gallery: Images whose neighbours vote, for networks without a classifier: an image folder, or a data-set name
            that timm takes. None where the images of `data` vote for each other. `root`, `image_column` and
            `label_column` hold for it too where it is of the kind of `data`.
        labels: Labels file of a flat folder.
        split: Split of a data-set name.
        root: Folder of the downloaded data of a data-set name, or where paths of a list or table start.
        image_column: Column of a Parquet file with the images; None finds it.
        label_column: Column of a Parquet file with the labels; None finds it.
        limit: Largest number of images, class-balanced, or the first of a stream; None for all.
        seed: Seed of the sample that `limit` takes.
        batch_size: Images per inference.
        workers: Decoding threads; None for one per core.
        threads: Threads for one inference; None leaves the engines' choice.
        device: `cpu` or `gpu`, for all engines.
        skip_unreadable: Whether unreadable images are left out and listed; otherwise they are an error.
        exif_rotate: Whether images are turned by their EXIF orientation; False leaves the bundle's choice.
        depth16: What becomes of 16-bit greyscale; None leaves the bundle's choice.
        save: Whether comparison and changed images are kept for `run-ssl report`, in each bundle's `results` folder.
        native: The C library, which preprocesses instead of Pillow, to the same bytes; None for Pillow.
    """

    bundles: tuple[Path, ...]
    data: str
    engines: tuple[str, ...] = ()
    weights: Path | None = None
    gallery: str | None = None
    labels: Path | None = None
    split: str = "validation"
    root: Path | None = None
    image_column: str | None = None
    label_column: str | None = None
    limit: int | None = None
    seed: int = 0
    batch_size: int = DEFAULT_BATCH_SIZE
    workers: int | None = None
    threads: int | None = None
    device: str = "cpu"
    skip_unreadable: bool = False
    native: Path | None = None
    exif_rotate: bool = False
    depth16: Depth16 | None = None
    save: bool = False
