"""A bundle: a directory with a network, its manifest, and what is needed to check both.

Opening a bundle checks the manifest's schema and every file's size and sha256, and that `model.onnx` holds all of its
weights. Its files are listed in `runtime/bundle/layout.py`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from runtime.bundle.directory import check_path
from runtime.bundle.external_data import has_external_data
from runtime.bundle.layers import Layer, LayerList
from runtime.bundle.layout import (
    GOLDEN_EMBEDDING,
    GOLDEN_LOGITS,
    GOLDEN_PIXELS,
    LABELS_FILE,
    LAYERS_FILE,
    LICENCE_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
)
from runtime.bundle.manifest import FileEntry, Manifest
from runtime.errors import BundleError
from runtime.support.files import hash_file, read_plain
from runtime.support.json_file import first_problem, read_versioned
from runtime.support.npy import load_npy
from runtime.support.words import counted

# What a manifest must list, so that its hash is checked; the second where it names golden images. A classifier
# needs its labels and golden logits too.
REQUIRED = (MODEL_FILE, LAYERS_FILE, LICENCE_FILE)
GOLDEN_FILES = (GOLDEN_PIXELS, GOLDEN_EMBEDDING)


@dataclass(frozen=True)
class Golden:
    """Inputs with the PyTorch original's outputs.

    Attributes:
        pixels: Preprocessed images, (N, H, W, C) uint8.
        logits: (N, classes) float32; (N, 0) without a classifier.
        embedding: (N, embedding_dim) float32.
    """

    pixels: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]

    @property
    def judged(self) -> npt.NDArray[np.float32]:
        """The output that accuracy depends on: the logits, or the embedding where there are none."""
        return self.logits if self.logits.shape[1] else self.embedding


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, whose files have the hashes that its manifest states.

    Attributes:
        path: The bundle's directory.
        manifest: What `bundle.json` says.
    """

    path: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """Where the ONNX file is."""
        return self.path / MODEL_FILE

    def labels(self) -> tuple[str, ...]:
        """Return the lines of labels.txt, line i names class i; none for a network without a classifier.

        Raises:
            BundleError: The file is not UTF-8, or has another number of lines than there are classes.
        """
        file, classes = self.path / LABELS_FILE, self.manifest.model.classes
        if not classes:
            return ()
        try:
            # A name may hold what `splitlines` takes for an end of a line, and C does not.
            lines = file.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
        except ValueError as error:
            raise BundleError(f"{file} is not UTF-8 ({error}): export the bundle again") from error
        if len(lines) != classes:
            raise BundleError(
                f"{file} has {counted(len(lines), 'line')}, expected {classes}, one for each class: export the bundle "
                "again"
            )
        return tuple(lines)

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers of the graph in execution order."""
        try:
            return LayerList.model_validate_json(read_plain(self.path / LAYERS_FILE)).layers
        except ValidationError as error:
            raise BundleError(f"{self.path / LAYERS_FILE} is not a layer list: {first_problem(error)}") from error

    def golden(self) -> Golden:
        """Return the golden inputs and outputs.

        Raises:
            BundleError: An array is missing, pickled, or has another shape or dtype than stated.
        """
        model = self.manifest.model
        count = len(self.manifest.golden)
        pixels = self._array(GOLDEN_PIXELS, (count, *self.manifest.preprocessing.pixels_shape), np.uint8)
        logits = np.empty((count, 0), np.float32)
        if model.classes:
            logits = self._array(GOLDEN_LOGITS, (count, model.classes), np.float32)
        return Golden(
            pixels=pixels,
            logits=logits,
            embedding=self._array(GOLDEN_EMBEDDING, (count, model.embedding_dim), np.float32),
        )

    def _array(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
        path = self.path / name
        try:
            array = load_npy(path)
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} is not a plain .npy array ({error}): export the bundle again") from error
        if array.shape != shape or array.dtype != dtype:
            raise BundleError(
                f"{path} is {array.shape} {array.dtype}, expected {shape} {np.dtype(dtype)}: export the bundle again"
            )
        return array


def open_bundle(path: str | Path) -> Bundle:
    """Return the bundle at `path` after checking its manifest and the hash of every file.

    Raises:
        BundleError: The folder is absent or no bundle, its path is not UTF-8, its schema is newer or broken, a file is
            missing, differs from its sha256, or is needed and not listed, the network has weights in other files, or
            the classes' names are not as many as the classes.
    """
    path = Path(path)
    check_path(path)
    manifest = read_manifest(path)
    for entry in manifest.files:
        _check_file(path, entry)
    listed = {entry.path for entry in manifest.files}
    for required in _required_files(manifest):
        if required not in listed:
            raise BundleError(f"{path / MANIFEST_FILE} does not list {required}: export the bundle again")
    if has_external_data(path / MODEL_FILE):
        raise BundleError(
            f"{path / MODEL_FILE} has weights in other files, for which no hash is checked: expected all of them in "
            f"{MODEL_FILE}; export the bundle again"
        )
    bundle = Bundle(path=path, manifest=manifest)
    bundle.labels()
    return bundle


def _required_files(manifest: Manifest) -> list[str]:
    """Return the files that a bundle cannot do without."""
    classifies = manifest.model.classes > 0
    required = [*REQUIRED, *((LABELS_FILE,) if classifies else ())]
    if manifest.golden:
        required += [*GOLDEN_FILES, *((GOLDEN_LOGITS,) if classifies else ())]
    return required


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of the bundle at `path`, its files unchecked.

    Raises:
        BundleError: There is no manifest, or it is newer than this version, or broken.
    """
    file = path / MANIFEST_FILE
    if not path.is_dir():
        raise BundleError(f"{path} is not a directory: expected a bundle made by export-ssl")
    try:
        return read_versioned(file, Manifest, otherwise="is not a manifest", next_step="export the bundle again")
    except OSError as error:
        raise BundleError(f"{path} has no readable {MANIFEST_FILE} ({error.strerror}): expected a bundle") from error


def list_files(path: Path) -> tuple[FileEntry, ...]:
    """Return an entry for every file under `path` except the manifest, sorted by name."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return tuple(
        FileEntry(path=file.relative_to(path).as_posix(), sha256=hash_file(file), size_bytes=file.stat().st_size)
        for file in files
        if file.relative_to(path).as_posix() != MANIFEST_FILE
    )


def _check_file(bundle: Path, entry: FileEntry) -> None:
    file = bundle / entry.path
    if not file.is_file():
        raise BundleError(f"{file} is missing, although the manifest lists it: copy the bundle again as a whole")
    # A link could point anywhere on this machine; a bundle is plain files.
    if not file.resolve().is_relative_to(bundle.resolve()):
        raise BundleError(f"{file} leads out of the bundle: expected a plain file")
    size = file.stat().st_size
    if size != entry.size_bytes:
        raise BundleError(
            f"{file} has {size} bytes, the manifest says {entry.size_bytes}: copy or export the bundle again"
        )
    digest = hash_file(file)
    if digest != entry.sha256:
        raise BundleError(
            f"{file} has sha256 {digest[:12]}…, the manifest says {entry.sha256[:12]}…: "
            "it was changed after the export; copy or export the bundle again"
        )
