"""Whether labelled images say that another preprocessing than the export's is the network's own.

Accuracy of the PyTorch original, on the same images, with the export's preprocessing and with likely others: each
usual normalisation that is not its own (ImageNet's, and 0.5 for all channels), and the other way to resize (squashed,
or short side and crop). It is a hint, not a check: nothing is refused, and nothing is changed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.checks.golden import network_feed, run_original
from exporter.preprocessing import for_channels
from exporter.steps.subject import Subject
from runtime.bundle.manifest import Preprocessing
from runtime.data.batches import load_batches
from runtime.data.dataset import Dataset
from runtime.data.open_images import open_images
from runtime.errors import DataError
from runtime.original.network import wrap
from runtime.support.arrays import Flags
from runtime.support.paired_statistics import label_ranks, mcnemar_p
from runtime.support.words import describe_size, p_value, percent

# Enough to tell a third of the accuracy from the whole, in some seconds of PyTorch on a CPU.
_IMAGES = 64
_BATCH = 16
# Two or three others are tried at each export, and each is only a guess: three false alarms in a hundred at most.
_SIGNIFICANCE = 0.01
# Source: timm.data.constants, IMAGENET_DEFAULT_* and IMAGENET_INCEPTION_*.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_INCEPTION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_USUAL_SHARE = 0.875


@dataclass(frozen=True)
class _Other:
    """Another preprocessing, and how it is asked for."""

    preprocessing: Preprocessing
    options: str


def compare_recipes(subject: Subject, folder: Path, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return a sentence for each likely preprocessing that is clearly better on labelled images; mostly none.

    Args:
        subject: What is exported.
        folder: A folder of images. Where it has no class folders of the network's, nothing can be said.
        labels: Class names of the network.
    """
    if not labels:
        return ()
    try:
        dataset = open_images(str(folder), labels, limit=_IMAGES)
    except DataError:
        # Golden images need no labels; where labels are needed, whoever needs them says what is wrong.
        return ()
    assert isinstance(dataset, Dataset), "a folder is no stream"
    here = _hits(subject, subject.preprocessing, dataset)
    sentences = []
    for other in _others(subject.preprocessing):
        there = _hits(subject, other.preprocessing, dataset)
        lost, gained = int(np.count_nonzero(here & ~there)), int(np.count_nonzero(there & ~here))
        p = mcnemar_p(lost, gained)
        if gained > lost and p < _SIGNIFICANCE:
            sentences.append(
                f"warning: of {len(here)} labelled images in {folder} the network gets {percent(float(here.mean()))} % "
                f"right with this preprocessing, and {percent(float(there.mean()))} % with {other.options} (McNemar's "
                f"p {p_value(p)}): state that, if the network was trained so"
            )
    return tuple(sentences)


def _others(preprocessing: Preprocessing) -> tuple[_Other, ...]:
    """Return the likely other preprocessings, two or three."""
    channels = len(preprocessing.colour)
    found = []
    for usual in (_IMAGENET, _INCEPTION):
        mean, std = (for_channels(numbers, channels) for numbers in usual)
        if mean != preprocessing.mean:
            words = " ".join(f"{number:g}" for number in mean), " ".join(f"{number:g}" for number in std)
            normalised = preprocessing.model_copy(update={"mean": mean, "std": std})
            found.append(_Other(normalised, f"--mean {words[0]} --std {words[1]}"))
    size = preprocessing.image_size
    if preprocessing.resize_mode == "squash":
        short = int(max(preprocessing.height, preprocessing.width) / _USUAL_SHARE)
        resized, options = {"resize_mode": "short", "resize_size": short}, f"--resize-mode short --resize-size {short}"
    else:
        resized = {"resize_mode": "squash", "resize_size": (preprocessing.height, preprocessing.width)}
        options = f"--resize-mode squash --img-size {describe_size(size).replace('x', ' ')}"
    return (*found, _Other(preprocessing.model_copy(update=resized), options))


def _hits(subject: Subject, preprocessing: Preprocessing, dataset: Dataset) -> Flags:
    """Return which images the original gets right, (N,) bool; all recipes leave out the same unreadable ones."""
    module = wrap(subject.network, preprocessing, input_kind="uint8")
    found = []
    with load_batches(dataset, preprocessing, batch_size=_BATCH, skip_unreadable=True) as loader:
        for batch in loader:
            logits, _ = run_original(module, network_feed(batch.pixels, preprocessing, takes_floats=False))
            found.append(label_ranks(logits, batch.labels) < 1)
    return np.concatenate(found)
