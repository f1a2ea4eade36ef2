"""What users get wrong about calibration images, found before it costs them accuracy."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calibration.images.sampling import CalibrationSample
from runtime.data.batches import Unreadable
from runtime.data.dataset import Dataset
from runtime.data.sources.entries import Entry, Source
from runtime.data.sources.open_source import IMAGES, find_kind, open_source
from runtime.errors import DataError
from runtime.images.formats import describe_passed_over
from runtime.images.listing import list_images
from runtime.images.losses import Losses
from runtime.images.reading import UNREADABLE, naming_machines_faults
from runtime.support.arrays import Pixels
from runtime.support.files import hash_file

# Fewer say next to nothing about the tails of activations, and leave one or two to judge by.
FEWEST = 8
# Published practice is 500 to 1,024 images (NVIDIA, NNCF); with fewer than 100 thresholds still move by per cents.
FEW = 100


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: A `refusal` stops the calibration, a `warning` does not.
        text: What was found, why it matters, and the next step.
    """

    severity: Literal["warning", "refusal"]
    text: str


def raise_refusals(findings: Sequence[Finding]) -> None:
    """Raise the first refusal, if there is one.

    Raises:
        DataError: The error that the finding describes.
    """
    for finding in findings:
        if finding.severity == "refusal":
            raise DataError(finding.text)


def hash_images(dataset: Dataset) -> dict[str, str]:
    """Return image name to the sha256 of its encoded bytes, in the data set's order.

    What cannot be opened, such as a dead link, is left out here: what decodes it names it.

    Raises:
        DataError: An image has no bytes, or what holds the images cannot be read.
        MachineError: The machine, not a file, is why it cannot be opened.
    """
    if dataset.source is not None:
        entries = [image.source for image in dataset.images if isinstance(image.source, Entry)]
        digests = _hash_entries(dataset.source, entries)
        return {image.name: digest for image, digest in zip(dataset.images, digests, strict=True) if digest}
    files: dict[str, Path] = {}
    for image in dataset.images:
        if not isinstance(image.source, Path):
            raise DataError(
                f"{image.name} is not a file: expected a folder of images; save the data set's images as files"
            )
        files[image.name] = image.source
    hashed = zip(files, _hash_files(files.values()), strict=True)
    return {name: digest for name, digest in hashed if digest}


def _hash_files(files: Iterable[Path]) -> list[str]:
    """Return the sha256 of each file, "" for one that cannot be opened."""

    def digest(file: Path) -> str:
        try:
            with naming_machines_faults(str(file)):
                return hash_file(file)
        except OSError:
            return ""

    with ThreadPoolExecutor() as pool:
        return list(pool.map(digest, files))


def _hash_entries(source: Source, entries: Iterable[Entry]) -> list[str]:
    """Return the sha256 of each entry, "" for one that cannot be read."""
    hashes = []
    for entry, contents in source.opened(entries):
        try:
            with naming_machines_faults(entry.key):
                hashes.append(hashlib.sha256(contents()).hexdigest())
        except UNREADABLE:
            hashes.append("")
    return hashes


def lint_sample(
    sample: CalibrationSample, hashes: dict[str, str], *, eval_data: Path | None = None
) -> tuple[Finding, ...]:
    """Return what is wrong with the files.

    Args:
        sample: The images drawn.
        hashes: Result of `hash_images`.
        eval_data: What accuracy will be measured on.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name, digest in hashes.items():
        groups[digest].append(name)
    findings = [*_too_few(len(groups), sample), *_one_class(sample), *_duplicates(list(groups.values()))]
    if sample.passed_over:
        findings.append(Finding("warning", describe_passed_over(sample.passed_over)))
    if eval_data is not None:
        findings += _overlap(sample, hashes, eval_data)
    return tuple(findings)


def _too_few(distinct: int, sample: CalibrationSample) -> list[Finding]:
    where = f"{sample.folder} gave {distinct} different calibration images"
    if distinct < FEWEST:
        return [Finding("refusal", f"{where}, expected {FEWEST} or more, and 512 to trust it: add images")]
    if distinct < FEW:
        return [Finding("warning", f"{where}; with fewer than {FEW} the scales are not stable yet: use 512")]
    if len(sample.dataset) < sample.requested:
        return [
            Finding(
                "warning",
                f"{sample.folder} has {sample.available} images to calibrate on, {sample.requested} were requested: "
                "all are used",
            )
        ]
    return []


def _one_class(sample: CalibrationSample) -> list[Finding]:
    labels = {image.label for image in sample.dataset.images}
    if len(labels) == 1 and sample.classes:
        return [
            Finding(
                "warning",
                f"all {len(sample.dataset)} calibration images are of one class ({sample.classes[0]}): the other "
                "classes may have larger ranges; pass the folder above it",
            )
        ]
    return []


def _duplicates(groups: list[list[str]]) -> list[Finding]:
    twice = [names for names in groups if len(names) > 1]
    if not twice:
        return []
    extra = sum(len(names) - 1 for names in twice)
    return [
        Finding(
            "warning",
            f"{extra} calibration images are copies of others ({twice[0][0]} and {twice[0][1]}, for one): "
            "they add nothing; take them out",
        )
    ]


def _overlap(sample: CalibrationSample, hashes: dict[str, str], eval_data: Path) -> list[Finding]:
    """Find images that are in both; dead links are in neither."""
    if not eval_data.exists():
        return [Finding("refusal", f"--eval-data {eval_data} is not there: expected labelled images; correct the path")]
    evaluated = _hash_evaluated(sample, hashes, eval_data)
    shared = [name for name, digest in hashes.items() if digest in evaluated]
    if not shared:
        return []
    text = (
        f"{len(shared)} of {len(hashes)} calibration images are also in {eval_data} ({shared[0]}, for one): "
        "measured on images that the scales were fitted to, accuracy looks better than it is"
    )
    if len(shared) == len(hashes):
        return [Finding("refusal", f"{text}; calibrate on training images")]
    return [Finding("warning", f"{text}; take them out of one of the two")]


def _hash_evaluated(sample: CalibrationSample, hashes: dict[str, str], eval_data: Path) -> set[str]:
    """Return the hashes of evaluation images; of files, only of those that have the size of a calibration image."""
    if find_kind(eval_data, otherwise=IMAGES) != IMAGES:
        source = open_source((eval_data,))
        return {digest for digest in _hash_entries(source, source.entries()) if digest}
    candidates = [path for path in list_images(eval_data) if path.is_file()]
    if sample.dataset.source is None:
        sizes = {(sample.folder / name).stat().st_size for name in hashes}
        candidates = [path for path in candidates if path.stat().st_size in sizes]
    return set(_hash_files(candidates))


def lint_unreadable(unreadable: Sequence[Unreadable], *, folder: Path, remaining: int) -> tuple[Finding, ...]:
    """Return what unreadable files mean.

    Args:
        unreadable: Images that were left out.
        folder: Folder of the images; left out of the text, which calibration.json keeps.
        remaining: Images that were read.
    """
    if not unreadable:
        return ()
    reason = unreadable[0].reason.replace(f"{folder}{os.sep}", "")
    text = f"{len(unreadable)} calibration images cannot be read ({reason})"
    if remaining < FEWEST:
        return (Finding("refusal", f"{text}, and only {remaining} are left, expected {FEWEST} or more: replace them"),)
    return (Finding("warning", f"{text}; they were left out"),)


class PixelLint:
    """What is wrong with the decoded images, found while they pass; memory does not grow with their size.

    Attributes:
        images: Images seen.
        lost: What the images lost on their way to the network; for the caller to add to.
    """

    def __init__(self) -> None:
        self.images = 0
        self.lost = Losses()
        self._grey = 0
        self._blank = 0
        self._seen: set[bytes] = set()

    def add(self, pixels: Pixels) -> None:
        """Look at a batch, (N, H, W, C) uint8."""
        for image in pixels:
            self.images += 1
            colours = image[..., :3]
            # A network of one channel sees nothing but grey.
            self._grey += colours.shape[-1] > 1 and bool((colours == colours[..., :1]).all())
            if (image == image[0, 0]).all():
                self._blank += 1
            else:
                self._seen.add(hashlib.sha256(image.tobytes()).digest())

    def finish(self) -> tuple[Finding, ...]:
        """Return what was found."""
        findings = [Finding("warning", f"of the calibration images, {sentence}") for sentence in self.lost.sentences()]
        if self.images and self._blank == self.images:
            findings.append(
                Finding(
                    "refusal",
                    f"all {self.images} calibration images are one flat colour{self._why()}: pass real images",
                )
            )
        elif self._blank:
            findings.append(Finding("warning", f"{self._blank} calibration images are one flat colour: take them out"))
        if self.images and self._grey == self.images and self._blank < self.images:
            findings.append(
                Finding(
                    "warning",
                    f"all {self.images} calibration images are grey: if the engine will see colour, the ranges of its "
                    "first layers are wrong; calibrate on colour images",
                )
            )
        copies = self.images - self._blank - len(self._seen)
        if copies > 0:
            findings.append(
                Finding(
                    "warning",
                    f"{copies} calibration images are the same as others after cropping: they add nothing; "
                    "take them out",
                )
            )
        return tuple(findings)

    def _why(self) -> str:
        """Return why pictures may have become flat, in brackets; nothing where none lost anything."""
        return "".join(f" ({sentence})" for sentence in self.lost.sentences())
