"""Fixtures that several files share: one small network as seven bundles, and small real pictures of it.

torch, timm and the exporter are imported inside the fixtures: most tests need none of them.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from runtime.support.engine_names import Int8Target
from tests.helpers import lanes
from tests.helpers.made_once import made_once
from tests.helpers.paths import PHOTOGRAPHS
from tests.helpers.tools import require_rtx

IMAGE_SIZE = 64
# The weights are drawn, not trained; any seed will do that is not the command's default.
SEED = 3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROPS_PER_PHOTOGRAPH = 12
PICTURES = 24
CHECKPOINT = "drawn.safetensors"
TESTS = Path(__file__).parent
# Returns a bundle by name.
Drawn = Callable[[str], Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out what is slow or needs C++, Ray, a browser or a GPU")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out whole files before they are imported: that alone takes seconds."""
    marked = lanes.markers_of(collection_path.relative_to(TESTS).as_posix())
    return True if marked and config.getoption("fast") else None


def pytest_configure(config: pytest.Config) -> None:
    """Let what is drawn depend on the test alone: in a terminal that is called dumb Rich draws no bars."""
    os.environ["TERM"] = "xterm-256color"
    # Hypothesis's own limit is 200 ms of the clock for an example: a busy machine fails a test by it.
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(lanes.NameFailures(config))


@pytest.fixture(scope="session")
def rtx_library() -> None:
    """Skip what needs NVIDIA's TensorRT for RTX where it is not installed."""
    require_rtx()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by where they stand; where several workers run them, put the longest first."""
    files = {item.path: item.path.relative_to(TESTS).as_posix() for item in items}
    for item in items:
        for marker in lanes.markers_of(files[item.path]):
            item.add_marker(marker)
    if config.getoption("fast"):
        left_out = [item for item in items if any(item.get_closest_marker(name) for name in lanes.LEFT_OUT)]
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: lanes.rank(files[item.path]))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> lanes.ByUnit:
    """Have one worker run a file's tests."""
    return lanes.ByUnit(config, log)


@dataclass(frozen=True)
class Exported:
    """ssl_resnet18 with drawn weights from a file, at 64 pixels.

    Attributes:
        fp32: FP32 bundle of the network.
        fp16: FP16 bundle of the network.
        checkpoint: The weights, beside the bundles.
    """

    fp32: Path
    fp16: Path
    checkpoint: Path


@dataclass(frozen=True)
class Quantized:
    """The same network in INT8, made quickly: without rounding its scales are not the best.

    Attributes:
        tensorrt: Bundle in `int8-fp16`, for TensorRT.
        cpu: Bundle in `int8`, for CPUs.
    """

    tensorrt: Path
    cpu: Path


@dataclass(frozen=True)
class Backbone:
    """The same network without its classifier: bundles whose only output is the embedding.

    Attributes:
        fp32: FP32 bundle of the network.
        int8: INT8 bundle for CPUs.
        checkpoint: The weights without the classifier's, beside the bundles.
    """

    fp32: Path
    int8: Path
    checkpoint: Path


@dataclass(frozen=True)
class Reference:
    """What PyTorch and timm give, computed without this project's code.

    Attributes:
        pixels: Pictures, (N, 64, 64, 3) uint8.
        logits: timm's network in float32, (N, 1000).
        embedding: Pooled features, (N, 512).
        fp16_logits: The network in FP16, (N, 1000) float32.
    """

    pixels: np.ndarray
    logits: np.ndarray
    embedding: np.ndarray
    fp16_logits: np.ndarray


def crops() -> list[Image.Image]:
    """Return square and oblong parts of the packaged photographs, the same ones every time."""
    rng = np.random.default_rng(0)
    found = []
    for file in sorted(PHOTOGRAPHS.glob("*.jpg")):
        with Image.open(file) as opened:
            photograph = opened.convert("RGB")
        for _ in range(CROPS_PER_PHOTOGRAPH):
            width, height = (int(side) for side in rng.integers(90, 200, 2))
            left = int(rng.integers(0, photograph.width - width))
            top = int(rng.integers(0, photograph.height - height))
            found.append(photograph.crop((left, top, left + width, top + height)))
    return found


def timm_network(checkpoint: Path) -> Any:
    """Return timm's ResNet-18 with the checkpoint's weights, loaded by safetensors and PyTorch alone."""
    import timm
    from safetensors.torch import load_file

    network = timm.create_model("resnet18").eval().requires_grad_(False)
    network.load_state_dict(load_file(checkpoint))
    return network


def timm_logits(network: Any, pictures: list[Image.Image]) -> np.ndarray:
    """Return the logits after timm's own evaluation transform."""
    import torch
    from timm.data import create_transform

    transform = create_transform(
        input_size=(3, IMAGE_SIZE, IMAGE_SIZE), crop_pct=0.875, interpolation="bilinear", mean=MEAN, std=STD
    )
    with torch.no_grad():
        return network(torch.stack([transform(picture) for picture in pictures])).numpy()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = made_once(tmp_path_factory, "exported", _export)
    return Exported(fp32=folder / "fp32", fp16=folder / "fp16", checkpoint=folder / CHECKPOINT)


def _export(folder: Path) -> None:
    from safetensors.torch import save_file

    from runtime.original.network import build_network
    from runtime.original.random_weights import randomise

    network = build_network("resnet18", 1000)
    randomise(network, SEED)
    save_file(network.state_dict(), folder / CHECKPOINT)
    for precision in ("fp32", "fp16"):
        _export_one(folder / CHECKPOINT, folder / precision, fp16=precision == "fp16")


def _export_one(checkpoint: Path, output: Path, **choices: Any) -> None:
    from exporter.pipeline import export_bundle
    from exporter.request import ExportRequest, WeightsChoice

    weights = WeightsChoice(source="file", path=checkpoint)
    export_bundle(ExportRequest(model="ssl_resnet18", weights=weights, img_size=IMAGE_SIZE, output=output, **choices))


@pytest.fixture(scope="session")
def backbone(exported: Exported, class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = made_once(tmp_path_factory, "backbone", lambda folder: _export_backbone(exported, class_folders, folder))
    return Backbone(fp32=folder / "fp32", int8=folder / "int8", checkpoint=folder / CHECKPOINT)


def _export_backbone(exported: Exported, pictures: Path, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(exported.checkpoint)
    save_file({name: value for name, value in state.items() if not name.startswith("fc.")}, folder / CHECKPOINT)
    _export_one(folder / CHECKPOINT, folder / "fp32")
    _export_one(folder / CHECKPOINT, folder / "int8", int8=_quickly(pictures, "cpu"))


@pytest.fixture(scope="session")
def float_input(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The FP32 bundle whose input is normalised floats."""

    def make(folder: Path) -> None:
        _export_one(exported.checkpoint, folder / "bundle", input_kind="float32")

    return made_once(tmp_path_factory, "float_input", make) / "bundle"


@pytest.fixture(scope="session")
def fixed_batch(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The FP32 bundle whose graph takes three images, no more and no fewer."""

    def make(folder: Path) -> None:
        _export_one(exported.checkpoint, folder / "bundle", batch=3)

    return made_once(tmp_path_factory, "fixed_batch", make) / "bundle"


@pytest.fixture(scope="session")
def quantized(exported: Exported, class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    folder = made_once(tmp_path_factory, "quantized", lambda folder: _quantize(exported, class_folders, folder))
    return Quantized(tensorrt=folder / "tensorrt", cpu=folder / "cpu")


def _quantize(exported: Exported, pictures: Path, folder: Path) -> None:
    targets: tuple[Int8Target, ...] = ("tensorrt", "cpu")
    for target in targets:
        int8 = _quickly(pictures, target)
        _export_one(exported.checkpoint, folder / target, fp16=target == "tensorrt", int8=int8)


def _quickly(pictures: Path, target: Int8Target) -> Any:
    """Return how to calibrate quickly: without rounding the scales are not the best."""
    from calibration.options import QuantizeOptions
    from exporter.request import Int8Request

    options = QuantizeOptions(method="max", rounding=False, bias_correction=False, target=target)
    return Int8Request(images=pictures, options=options)


@pytest.fixture(scope="session")
def drawn(request: pytest.FixtureRequest, exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """Bundles of other precisions and networks by name: see tests/helpers/drawn_bundles.py."""
    from tests.helpers.drawn_bundles import drawn_bundle

    def make(name: str) -> Path:
        pictures = partial(request.getfixturevalue, "class_folders")
        return drawn_bundle(name, tmp_path_factory, checkpoint=exported.checkpoint, pictures=pictures)

    return make


@pytest.fixture(scope="session")
def reference(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = made_once(tmp_path_factory, "reference", lambda folder: _run_timm(exported, folder))
    return Reference(**{name: np.load(folder / f"{name}.npy") for name in Reference.__dataclass_fields__})


def _run_timm(exported: Exported, folder: Path) -> None:
    import torch

    pixels = np.stack([np.asarray(picture.resize((IMAGE_SIZE, IMAGE_SIZE))) for picture in crops()[::6]])
    network = timm_network(exported.checkpoint)
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    feed = (scaled - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    with torch.no_grad():
        features = network.forward_features(feed)
        embedding = network.forward_head(features, pre_logits=True)
        logits = network(feed)
        fp16_logits = network.half()(feed.half()).float()
    np.save(folder / "pixels.npy", pixels)
    for name, tensor in (("logits", logits), ("embedding", embedding), ("fp16_logits", fp16_logits)):
        np.save(folder / f"{name}.npy", tensor.numpy())


@pytest.fixture(scope="session")
def class_folders(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in folders named by wnid, as an ImageNet validation folder has them.

    The network is untrained, so its own ranking decides the labels: of four pictures two are labelled
    with its first choice, one with its second and one with its ninth. Only pictures with a clear first
    choice are taken: Pillow 13 resizes some sizes in another order than this project and older Pillows.
    """
    return made_once(tmp_path_factory, "pictures", lambda folder: _write_classes(exported, folder))


def _write_classes(exported: Exported, folder: Path) -> None:
    pictures = crops()
    ranking = timm_logits(timm_network(exported.checkpoint), pictures)
    ordered = np.sort(ranking, axis=1)
    clearest = np.argsort(ordered[:, -2] - ordered[:, -1], kind="stable")[:PICTURES]
    labels = (exported.fp32 / "labels.txt").read_text(encoding="utf-8").splitlines()
    for number, index in enumerate(sorted(clearest)):
        choice = (0, 1, 0, 8)[number % 4]
        wnid = labels[np.argsort(-ranking[index])[choice]].partition("\t")[0]
        (folder / wnid).mkdir(exist_ok=True)
        pictures[index].save(folder / wnid / f"{number:02}.png")
