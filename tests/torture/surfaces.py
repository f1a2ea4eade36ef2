"""What of the project reads a stranger's file: for each surface a valid one, how it is changed, and who reads it."""

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from PIL import Image

from tests.helpers.embed_jobs import embed, searchable_job
from tests.helpers.image_folders import picture, write_picture
from tests.helpers.image_sources import written
from tests.helpers.plans import put_plan
from tests.helpers.report_samples import write_everything
from tests.torture.mutations import change_bytes, change_json, change_png, change_safetensors, change_tar, change_zip

if TYPE_CHECKING:
    import torch

Change = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Surface:
    """A reader, ready to be given changed files.

    Attributes:
        file: The valid file, which changed ones take the place of.
        change: Makes a changed file of a valid one.
        read: Reads what stands at `file`; raises the project's errors alone.
    """

    file: Path
    change: Change
    read: Callable[[], object]


def manifest(folder: Path) -> Surface:
    """Return the surface of a bundle's manifest."""
    from runtime.bundle.bundle import open_bundle
    from runtime.bundle.layout import MANIFEST_FILE

    bundle, _ = write_everything(folder)
    return Surface(bundle / MANIFEST_FILE, change_json, lambda: open_bundle(bundle).golden())


def calibration(folder: Path) -> Surface:
    """Return the surface of a bundle's calibration.json, as the report reads it."""
    return _reported(folder, "calibration.json")


def compare_result(folder: Path) -> Surface:
    """Return the surface of a stored comparison."""
    return _reported(folder, "results/compare.json")


def bench_result(folder: Path) -> Surface:
    """Return the surface of a stored benchmark, with few calls: a number among 1,400 is nearly always a time."""
    surface = _reported(folder, "results/bench.json")
    result = json.loads(surface.file.read_bytes())
    for measured in result["measured"]:
        measured["rounds_ms"] = [calls[:2] for calls in measured["rounds_ms"][:2]]
    surface.file.write_text(json.dumps(result))
    return surface


def neighbours(folder: Path) -> Surface:
    """Return the surface of a stored check of neighbours."""
    return _reported(folder, "results/neighbours.json")


def _reported(folder: Path, name: str) -> Surface:
    from runtime.bundle.bundle import open_bundle
    from runtime.report import inputs

    bundle = write_everything(folder)[1]
    opened = open_bundle(bundle)

    def read() -> object:
        # The files that are not changed need not be hashed for each one that is.
        with mock.patch.object(inputs, "open_bundle", return_value=opened):
            return inputs.read_inputs(inputs.ReportRequest((bundle,)))

    return Surface(bundle / name, change_json, read)


def sidecar(folder: Path) -> Surface:
    """Return the surface of what stands beside a plan."""
    from runtime.bundle.plan_json import read_sidecar

    bundle, _ = write_everything(folder)
    put_plan(bundle)
    return Surface(bundle / "model.plan.json", change_json, lambda: read_sidecar(bundle))


def plan(folder: Path) -> Surface:
    """Return the surface of a plan's own first bytes."""
    from runtime.engines.trt.plan_header import read_plan_header

    bundle, _ = write_everything(folder)
    put_plan(bundle)
    file = bundle / "model.plan"
    return Surface(file, change_bytes, lambda: read_plan_header(file.read_bytes(), name="model.plan"))


def layers(folder: Path) -> Surface:
    """Return the surface of a plan's layers, as `run-ssl explain` reads them."""
    from runtime.plans.read_account import read_account

    file = folder / "layers.json"
    tensor = {"Name": "x", "Dimensions": [-1, 64, 32, 32], "Format/Datatype": "Row major linear FP32"}
    layer = {
        "Name": "conv",
        "LayerType": "CaskConvolution",
        "Inputs": [tensor],
        "Outputs": [tensor],
        "Weights": {"Type": "Float", "Count": 10},
        "TacticName": "sm80_x",
        "Metadata": "[ONNX Layer: /conv1/Conv]",
    }
    file.write_text(json.dumps({"Layers": [layer, layer | {"LayerType": "Reformat"}], "Bindings": ["x", "y"]}))
    return Surface(file, change_json, lambda: read_account(str(file)))


def checkpoint_pickle(folder: Path) -> Surface:
    """Return the surface of a checkpoint in PyTorch's format."""
    import torch

    file = folder / "checkpoint.pth"
    torch.save({"epoch": 1, "best": 0.5, "state_dict": _small_state("module.")}, file)
    return Surface(file, change_zip, lambda: _read_checkpoint(file))


def checkpoint_safetensors(folder: Path) -> Surface:
    """Return the surface of a checkpoint of safetensors."""
    from safetensors.torch import save_file

    file = folder / "checkpoint.safetensors"
    save_file(_small_state(""), file)
    return Surface(file, change_safetensors, lambda: _read_checkpoint(file))


def _small_state(prefix: str) -> "dict[str, torch.Tensor]":
    from timm.models.resnet import BasicBlock, ResNet

    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3, channels=(2, 3, 4, 5))
    return {f"{prefix}{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}


def _read_checkpoint(file: Path) -> object:
    from runtime.original.checkpoint import read_checkpoint

    return read_checkpoint(file)


def calibration_cache(folder: Path) -> Surface:
    """Return the surface of a calibration cache."""
    import numpy as np

    from calibration.images.fingerprint import make_fingerprint
    from calibration.search.calibration_cache import read_cache, write_cache
    from runtime.bundle.calibration_json import Activation, Calibration, Convergence, Tried
    from tests.helpers.bundles import hand_made_manifest
    from tests.helpers.resnet_graphs import basic_block

    preprocessing = hand_made_manifest().preprocessing
    fingerprint = make_fingerprint(
        basic_block(), {"a.png": "0" * 64}, preprocessing=preprocessing, options={"seed": "0"}
    )
    found = Calibration(
        fingerprint=fingerprint,
        target="tensorrt",
        method="mse",
        candidates=(Tried(name="mse", sqnr_db=31.25, kept=True),),
        techniques=(),
        activations=(Activation(name="x", scale=0.1, unsigned=False, clip=12.7, low=-3, high=12.7, amax_before=12.7),),
        layers=("conv1",),
        float_layers=("fc",),
        images=24,
        held_out=6,
        held_out_sqnr_db=30.5,
        convergence=Convergence(median=0.01, worst=0.25, worst_tensor="x"),
        warnings=(),
    )
    file = folder / "cache.zip"
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "weight/conv1": np.ones((4, 3, 3, 3), np.int8),
        "weight_scale/conv1": np.full(4, 0.1, np.float32),
    }
    write_cache(file, found, arrays)
    return Surface(file, change_zip, lambda: read_cache(file, fingerprint))


def labels_lines(folder: Path) -> Surface:
    """Return the surface of class names, a line each."""
    return _labels(folder / "labels.txt", "n01\ttench\nn02\tgoldfish\ncat\n", change_bytes)


def labels_json(folder: Path) -> Surface:
    """Return the surface of class names in JSON."""
    return _labels(folder / "labels.json", '{"id2label": {"0": "tench", "1": "goldfish", "2": "cat"}}', change_json)


def labels_csv(folder: Path) -> Surface:
    """Return the surface of class names in CSV."""
    return _labels(folder / "labels.csv", 'index,name\n0,tench\n1,"gold, fish"\n2,cat\n', change_bytes)


def _labels(file: Path, text: str, change: Change) -> Surface:
    from runtime.data.class_names import read_class_names

    file.write_text(text)
    return Surface(file, change, lambda: read_class_names(file, 3))


def own_model(folder: Path) -> Surface:
    """Return the surface of timm's config.json beside weights."""
    from exporter.models import default_labels, resolve_model
    from exporter.preprocessing import resolve_preprocessing

    file = folder / "config.json"
    names = ["badger", "otter", "stoat"]
    pretrained = {"input_size": [3, 64, 64], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center"}
    pretrained |= {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.2], "num_classes": 3, "license": "mit"}
    content = {"architecture": "resnet18", "num_classes": 3, "label_names": names, "label_descriptions": {"otter": "x"}}
    file.write_text(json.dumps(content | {"model_args": {"in_chans": 3}, "pretrained_cfg": pretrained}))
    (folder / "model.safetensors").touch()

    def read() -> object:
        spec = resolve_model(f"local-dir:{folder}")
        return default_labels(3, spec), resolve_preprocessing(spec)

    return Surface(file, change_json, read)


def job(folder: Path) -> Surface:
    """Return the surface of an embedding job's identity."""
    return _searched(folder, "_job.json")


def part_record(folder: Path) -> Surface:
    """Return the surface of the record of an embedding job's part."""
    return _searched(folder, "_parts/part-000000.json")


def part_rows(folder: Path) -> Surface:
    """Return the surface of an embedding job's rows in Parquet."""
    return _searched(folder, "data/part-000000.parquet")


def _searched(folder: Path, name: str) -> Surface:
    from runtime.search.gallery import open_gallery

    with pytest.MonkeyPatch.context() as patch:
        asked = searchable_job(folder, patch, range(5), part_images=3)
        embed(asked)
    change = change_bytes if name.endswith(".parquet") else change_json

    def read() -> object:
        gallery = open_gallery(asked.output)
        return list(gallery.blocks()), gallery.embeddings([gallery.rows - 1]), gallery.described([0])

    return Surface(asked.output / name, change, read)


def parquet_images(folder: Path) -> Surface:
    """Return the surface of images in a Parquet file."""
    return _source(written(folder, "parquet", 4), change_bytes)


def tar_shard(folder: Path) -> Surface:
    """Return the surface of images in a tar shard."""
    return _source(written(folder, "tar", 4) / "0.tar", change_tar)


def image_list(folder: Path) -> Surface:
    """Return the surface of a list of images."""
    return _source(written(folder, "list", 4), change_bytes)


def _source(file: Path, change: Change) -> Surface:
    from runtime.data.sources.open_source import open_source
    from runtime.embed.decode import decode_entry
    from runtime.images.preprocessing import preprocess
    from tests.helpers.bundles import hand_made_manifest

    contract = hand_made_manifest().preprocessing

    def read() -> object:
        source = open_source([file])
        entries = list(source.entries())
        return [
            decode_entry(one, partial(preprocess, preprocessing=contract), contract) for one in source.opened(entries)
        ]

    return Surface(file, change, read)


def png(folder: Path) -> Surface:
    """Return the surface of a PNG picture."""
    file = folder / "picture.png"
    write_picture(file, 0)
    return _picture(file, change_png)


def jpeg(folder: Path) -> Surface:
    """Return the surface of a JPEG picture."""
    return _encoded(folder / "picture.jpg", "JPEG")


def tiff(folder: Path) -> Surface:
    """Return the surface of a TIFF picture."""
    return _encoded(folder / "picture.tif", "TIFF")


def webp(folder: Path) -> Surface:
    """Return the surface of a WebP picture."""
    return _encoded(folder / "picture.webp", "WEBP")


def _encoded(file: Path, kind: str) -> Surface:
    contents = io.BytesIO()
    Image.fromarray(picture(0)).save(contents, kind)
    file.write_bytes(contents.getvalue())
    return _picture(file, change_bytes)


def _picture(file: Path, change: Change) -> Surface:
    from runtime.images.reading import load_pixels
    from tests.helpers.bundles import hand_made_manifest

    preprocessing = hand_made_manifest().preprocessing
    return Surface(file, change, lambda: load_pixels(file, preprocessing))


SURFACES: dict[str, Callable[[Path], Surface]] = {
    make.__name__: make
    for make in (
        *(manifest, calibration, compare_result, bench_result, neighbours, sidecar, plan, layers),
        *(
            checkpoint_pickle,
            checkpoint_safetensors,
            calibration_cache,
            labels_lines,
            labels_json,
            labels_csv,
            own_model,
        ),
        *(job, part_record, part_rows, parquet_images, tar_shard, image_list, png, jpeg, tiff, webp),
    )
}
