"""The images whose top-1 class the engines changed, collected while a comparison runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle.layout import CHANGED_FILE, COMPARE_FILE, make_results_folder
from runtime.bundle.results.changed_json import ChangedImage, Changes, EngineChanges, write_changes
from runtime.bundle.results.compare_json import Comparison
from runtime.compare.changed_images import count_changed, keep_clearest, record_changed
from runtime.compare.score import Scores
from runtime.data.batches import Batch
from runtime.data.dataset import Dataset, Stream
from runtime.data.pieces import Piece
from runtime.support.arrays import Floats
from runtime.support.json_file import write_model
from runtime.support.words import printable


@dataclass(frozen=True)
class FoundChanges:
    """What the engines changed among some images.

    Attributes:
        images: Images compared.
        changed: How many images have another top-1 class, for each engine.
        kept: Clearest of the changed images, for each engine; see `EngineChanges`.
    """

    images: int
    changed: tuple[int, ...]
    kept: tuple[tuple[ChangedImage, ...], ...]

    def merge(self, later: "FoundChanges") -> "FoundChanges":
        """Return what they changed among these images and later ones."""
        return FoundChanges(
            images=self.images + later.images,
            changed=tuple(one + another for one, another in zip(self.changed, later.changed, strict=True)),
            kept=tuple(keep_clearest((*one, *another)) for one, another in zip(self.kept, later.kept, strict=True)),
        )

    def of_engines(self, engines: Sequence[tuple[str, str, str]]) -> Changes:
        """Return the changes with the engines' names.

        Args:
            engines: Bundle, name and precision of each engine.
        """
        return Changes(
            engines=tuple(
                EngineChanges(
                    bundle=bundle, engine=name, precision=precision, images=self.images, changed=changed, kept=kept
                )
                for (bundle, name, precision), changed, kept in zip(engines, self.changed, self.kept, strict=True)
            )
        )


def count_changes(scores: Scores) -> FoundChanges:
    """Return how many decisions each engine changed, without the images: their classes come after the last of them."""
    images = scores.original.images
    changed = tuple(round(images * (1 - score.agreement)) for score in scores.engines)
    return FoundChanges(images, changed, tuple(() for _ in scores.engines))


class ChangeCollector:
    """Is told of every pair of answers; `found` says what they changed."""

    def __init__(self, dataset: Dataset | Stream | Piece, classes: Sequence[str], engines: int) -> None:
        """Begin to collect.

        Args:
            dataset: The images, for their names.
            classes: Lines of labels.txt.
            engines: Number of engines.
        """
        # What a person reads: without the wnid before it.
        self._classes = [line.partition("\t")[2] or line for line in classes]
        self._names = [] if isinstance(dataset, Stream) else [printable(image.name) for image in dataset.images]
        self._start = dataset.start if isinstance(dataset, Piece) else 0
        self._kept: list[tuple[ChangedImage, ...]] = [()] * engines
        self._changed = [0] * engines
        self._images = 0

    def add(self, engine: int, batch: Batch, original: Floats, found: Floats) -> None:
        """Take note of one engine's answers to one batch."""
        if engine == 0:
            self._images += len(batch.labels)
        self._changed[engine] += count_changed(original, found)
        self._kept[engine] = record_changed(
            batch.pixels,
            batch.labels,
            original=original,
            found=found,
            classes=self._classes,
            names=[self._name(int(index)) for index in batch.indices],
            kept=self._kept[engine],
        )

    @property
    def found(self) -> FoundChanges:
        """What was changed so far."""
        return FoundChanges(self._images, tuple(self._changed), tuple(self._kept))

    def _name(self, index: int) -> str:
        return self._names[index - self._start] if self._names else f"image {index}"


def save_comparison(bundles: Sequence[Path], comparison: Comparison, changes: Changes) -> None:
    """Keep a comparison in the `results` folder of every bundle that was compared.

    Raises:
        BundleError: A folder cannot be written.
    """
    for bundle in bundles:
        folder = make_results_folder(bundle)
        write_model(folder / COMPARE_FILE, comparison)
        write_changes(folder / CHANGED_FILE, changes)
