"""The images that an export is checked on, and PyTorch's outputs for them."""

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime.bundle.bundle import Golden
from runtime.bundle.manifest import Preprocessing, output_names
from runtime.engines.contract import Outputs, read_outputs
from runtime.errors import CheckpointError, DataError
from runtime.images.formats import PassedOver, describe_instead
from runtime.images.listing import list_images
from runtime.images.preprocessing import normalise
from runtime.support.arrays import Floats, Pixels

if TYPE_CHECKING:
    import torch

# Enough for a steady SQNR, and under 1.3 MB of pixels in a bundle at 224 px.
MAX_GOLDEN_IMAGES = 8
_IMAGES_AT_ONCE = 2


def golden_files(folder: Path | None) -> tuple[Path, ...]:
    """Return at most `MAX_GOLDEN_IMAGES` images, evenly spread over the sorted files of a folder.

    Args:
        folder: Pictures of the user's, searched recursively; None for the packaged photographs.

    Raises:
        DataError: The folder is absent or holds no image.
    """
    if folder is None:
        packaged = resources.files("exporter") / "photographs"
        return tuple(sorted(Path(str(file)) for file in packaged.iterdir() if file.name.endswith(".jpg")))
    if not folder.is_dir():
        raise DataError(f"--golden {folder} is not a directory: expected a folder of images")
    passed_over = PassedOver()
    files = list_images(folder, passed_over)
    if not files:
        raise DataError(
            f"--golden {folder} holds no image: expected files such as .jpg or .png, {describe_instead(passed_over)}; "
            "check the path"
        )
    step = max(len(files) / MAX_GOLDEN_IMAGES, 1.0)
    return tuple(files[int(index * step)] for index in range(min(len(files), MAX_GOLDEN_IMAGES)))


def network_feed(pixels: Pixels, preprocessing: Preprocessing, *, takes_floats: bool) -> Pixels | Floats:
    """Return the pixels as the graph's input: themselves, or normalised NCHW float32."""
    return normalise(pixels, preprocessing) if takes_floats else pixels


def run_original(module: "torch.nn.Module", feed: Pixels | Floats) -> Outputs:
    """Return PyTorch's outputs, of a few images at a time: this runs beside the tracer, which needs memory too.

    Args:
        module: A wrapped network (`runtime.original.network.wrap`).
        feed: Input of the network.
    """
    import torch

    with torch.no_grad():
        few = (feed[start : start + _IMAGES_AT_ONCE] for start in range(0, len(feed), _IMAGES_AT_ONCE))
        batches = [module(torch.from_numpy(images)) for images in few]
    return read_outputs([torch.cat(outputs).float().numpy() for outputs in zip(*batches, strict=True)])


def named_outputs(logits: Floats, embedding: Floats) -> dict[str, Floats]:
    """Return the outputs that a network has, by name and in their order.

    Args:
        logits: (N, classes); (N, 0) of a network without a classifier, which has no such output.
        embedding: (N, embedding_dim).
    """
    arrays = {"logits": logits, "embedding": embedding}
    return {name: arrays[name] for name in output_names(logits.shape[1])}


def golden_outputs(module: "torch.nn.Module", pixels: Pixels, feed: Pixels | Floats) -> Golden:
    """Return the golden inputs with PyTorch's outputs.

    Raises:
        CheckpointError: PyTorch itself gives NaN or infinity: the weights are broken.
    """
    logits, embedding = run_original(module, feed)
    if not (np.isfinite(logits).all() and np.isfinite(embedding).all()):
        raise CheckpointError(
            "the PyTorch original gives NaN or infinity on the golden images: check the checkpoint, or the images"
        )
    return Golden(pixels=pixels, logits=logits, embedding=embedding)
