"""The trained networks of the INT8 benchmarks: FP32 bundles, calibration images and held-out images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import timm

from calibration.images.sampling import sample_images
from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, WeightsChoice
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.data.batches import load_batches
from runtime.data.dataset import Dataset
from runtime.data.open_images import open_images
from runtime.images.preprocessing import normalise

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
BATCH = 16


@dataclass(frozen=True)
class Network:
    """A trained network and its images.

    Attributes:
        name: What the table calls it.
        model: timm's name.
        weights: The checkpoint.
        labels: File of class names, one per line.
        pictures: Folder with `train` and `val`, of class folders.
        image_size: Pixels.
    """

    name: str
    model: str
    weights: Path
    labels: Path
    pictures: Path
    image_size: int

    @property
    def training(self) -> Path:
        """Where calibration images are drawn from."""
        return self.pictures / "train"

    def bundle(self, cache: Path) -> Bundle:
        """Return the FP32 bundle, exported into `cache` unless one from the same checkpoint is there.

        Its graph takes normalised float32, (N, 3, H, W): a form that all quantisers take.
        """
        path = cache / f"{self.name}-fp32"
        manifest = path / "bundle.json"
        if not manifest.exists() or manifest.stat().st_mtime < self.weights.stat().st_mtime:
            request = ExportRequest(
                model=self.model,
                weights=WeightsChoice(source="file", path=self.weights),
                input_kind="float32",
                img_size=self.image_size,
                interpolation="bilinear",
                golden=self.training,
                labels=self.labels,
                licence="CC0-1.0",
                output=path,
                overwrite=True,
            )
            export_bundle(request)
        return open_bundle(path)

    def calibration_file(self, bundle: Bundle, cache: Path, *, count: int) -> Path:
        """Return a .npy file with the graph's input for the images that ours draws, (N, 3, H, W) float32."""
        path = cache / f"{self.name}-calibration-{count}.npy"
        images, _ = load_inputs(sample_images(self.training, count=count).dataset, bundle)
        np.save(path, images)
        return path

    def validation(self, bundle: Bundle, *, limit: int | None) -> tuple[Floats, Ints]:
        """Return the graph's input for held-out images, (N, 3, H, W), and their labels, (N,); None for all."""
        dataset = open_images(str(self.pictures / "val"), bundle.labels(), limit=limit)
        assert isinstance(dataset, Dataset), "a folder is no stream"
        return load_inputs(dataset, bundle)


def load_inputs(dataset: Dataset, bundle: Bundle) -> tuple[Floats, Ints]:
    """Return the graph's input, (N, 3, H, W), and the labels, (N,), of all images."""
    preprocessing = bundle.manifest.preprocessing
    with load_batches(dataset, preprocessing, batch_size=BATCH) as loader:
        batches = [(normalise(batch.pixels, preprocessing), batch.labels) for batch in loader]
    return np.concatenate([pixels for pixels, _ in batches]), np.concatenate([labels for _, labels in batches])


def find_networks(folders: list[Path]) -> list[Network]:
    """Return the networks that `inputs/train_digits.py` and `inputs/train_fractals.py` wrote into folders."""
    found = []
    for folder in folders:
        for task, size in (("digits", 64), ("fractals", 112)):
            for weights in sorted(folder.glob(f"{task}_*.safetensors")):
                model = weights.stem.removeprefix(f"{task}_")
                if not timm.is_model(model):
                    # Another checkpoint of the same network, kept beside it by hand.
                    continue
                labels, pictures = folder / f"{task}_labels.txt", folder / task
                found.append(Network(f"{task}-{model}", model, weights, labels, pictures, size))
    return found
