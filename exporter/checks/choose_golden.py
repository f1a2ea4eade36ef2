"""Which images an export is judged on.

1. The images of `--golden`.
2. With INT8 and without `--golden`, images of the calibration data (a folder, shards, tables or a list): what the
   network will see is like them. They are drawn by seed before the calibration images are, which leave them out: no
   scale is fitted to them, and no candidate was judged on them. At most one image in eight is taken, and never so many
   that too few are left to calibrate on.
3. Otherwise the packaged photographs, and that is said: a network for other images may be refused for what it does on
   photographs.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from calibration.images.lint import FEWEST
from calibration.images.sampling import sample_images
from exporter.checks.golden import MAX_GOLDEN_IMAGES, golden_files
from exporter.request import Int8Request
from runtime.bundle.manifest import Preprocessing
from runtime.data.dataset import Dataset, LabelledImage
from runtime.errors import DataError
from runtime.images.reading import pillow_silenced

_SHARE = 8
# The calibration images are drawn with the seed, those that judge candidates with the next one.
_SEED_STEP = 2


@dataclass(frozen=True)
class GoldenImages:
    """The images that an export is judged on.

    Attributes:
        dataset: The images.
        description: What they are, for the middle of a sentence.
        notice: What a user should know of the choice; empty where the user made it.
        held_out: Names, in the calibration data, of those that calibration must leave out.
    """

    dataset: Dataset
    description: str
    notice: str = ""
    held_out: frozenset[str] = frozenset()


def choose_golden(golden: Path | None, int8: Int8Request | None, preprocessing: Preprocessing) -> GoldenImages:
    """Return the images that an export is judged on; see the module.

    Args:
        golden: The folder of `--golden`; None where there is none.
        int8: How INT8 is calibrated; None for none.
        preprocessing: Preprocessing from image file to pixels: images that cannot be read judge nothing.

    Raises:
        DataError: A folder is absent or holds no image.
    """
    if golden is None and int8 is not None:
        held_out = _hold_out(int8, preprocessing)
        if held_out is not None:
            return held_out
    files = Dataset.of_files(golden_files(golden))
    if golden is not None:
        return GoldenImages(files, f"{len(files)} images of {golden}")
    return GoldenImages(
        files,
        "the four packaged photographs",
        notice="verified on the four packaged photographs; if the network will see other images, pass --golden FOLDER "
        "with some of them",
    )


def _hold_out(int8: Int8Request, preprocessing: Preprocessing) -> GoldenImages | None:
    """Return images of the calibration folder; None where it has too few that can be read."""
    available = sample_images(int8.images, count=1, seed=int8.seed).available
    count = min(MAX_GOLDEN_IMAGES, available // _SHARE, available - FEWEST)
    if count < 1:
        return None
    sample = sample_images(int8.images, count=count, seed=int8.seed + _SEED_STEP)
    readable = tuple(image.name for image in sample.dataset if _can_be_read(image, preprocessing))
    if not readable:
        return None
    description = f"{len(readable)} images of {int8.images} that calibration leaves out"
    images = tuple(image for image in sample.dataset.images if image.name in readable)
    return GoldenImages(
        replace(sample.dataset, images=images),
        description,
        notice=f"verified on {description} (seed {int8.seed}); the bundle keeps them in golden/; --golden FOLDER names "
        "others",
        held_out=frozenset(readable),
    )


def _can_be_read(image: LabelledImage, preprocessing: Preprocessing) -> bool:
    """Return whether an image can be read; calibration counts and names those that cannot."""
    try:
        with pillow_silenced():
            image.read(preprocessing)
    except DataError:
        return False
    return True
