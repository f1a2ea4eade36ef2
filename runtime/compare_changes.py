"""The images whose top-1 class the engines changed, collected while a comparison runs."""

from collections.abc import Sequence
from pathlib import Path

from runtime.compare_report import Comparison
from runtime.dataset import Dataset, Stream
from runtime.engine import Floats
from runtime.files import atomic_file
from runtime.loader import Batch
from runtime.report.changed import (
    CHANGED_FILE,
    ChangedImage,
    Changes,
    EngineChanges,
    count_changed,
    record_changed,
    write_changes,
)
from runtime.results import COMPARE_FILE, make_results_folder


class ChangeCollector:
    """Is told of every pair of answers; `changes` says what they changed."""

    def __init__(self, dataset: Dataset | Stream, classes: Sequence[str], engines: int) -> None:
        """Begin to collect.

        Args:
            dataset: The images, for their names.
            classes: Lines of labels.txt.
            engines: Number of engines.
        """
        # What a person reads: without the wnid before it.
        self._classes = [line.partition("\t")[2] or line for line in classes]
        self._names = [image.name for image in dataset.images] if isinstance(dataset, Dataset) else []
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

    def changes(self, engines: Sequence[tuple[str, str, str]]) -> Changes:
        """Return what was changed.

        Args:
            engines: Bundle, name and precision of each engine.
        """
        return Changes(
            engines=tuple(
                EngineChanges(
                    bundle=bundle,
                    engine=name,
                    precision=precision,
                    images=self._images,
                    changed=self._changed[number],
                    kept=self._kept[number],
                )
                for number, (bundle, name, precision) in enumerate(engines)
            )
        )

    def _name(self, index: int) -> str:
        return self._names[index] if index < len(self._names) else f"image {index}"


def save_comparison(bundles: Sequence[Path], comparison: Comparison, changes: Changes) -> None:
    """Keep a comparison in the `results` folder of every bundle that was compared.

    Raises:
        BundleError: A folder cannot be written.
    """
    for bundle in bundles:
        folder = make_results_folder(bundle)
        with atomic_file(folder / COMPARE_FILE) as file:
            file.write((comparison.model_dump_json(indent=2) + "\n").encode())
        write_changes(folder / CHANGED_FILE, changes)
