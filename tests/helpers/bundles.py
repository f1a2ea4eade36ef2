"""A small bundle made by hand, for tests of the container rather than of the network in it."""

from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np

from exporter.writing.bundle_writer import write_bundle
from runtime.bundle.bundle import Golden
from runtime.bundle.layers import Layer
from runtime.bundle.manifest import Licence, Manifest, Model, Precision, Preprocessing, TensorSpec, Weights

CLASSES, DIM, SIZE = 3, 4, 8
GRAPH = b"not a real network, but bytes with a hash"


def hand_made_manifest(**changes: object) -> Manifest:
    """Return a manifest of a tiny network; `changes` replace its parts."""
    parts: dict[str, object] = {
        "model": Model(
            name="tiny",
            architecture="resnet18",
            timm_tag=None,
            classes=CLASSES,
            embedding_dim=DIM,
            parameters=10,
            macs=5,
            flops=10,
        ),
        "weights": Weights(source="file", name="tiny.pth", file_sha256="0" * 64, tensors_sha256="1" * 64),
        "licence": Licence(spdx="MIT", notice="Do what you like."),
        "card": None,
        "preprocessing": Preprocessing(
            image_size=SIZE, resize_size=9, crop_pct=0.875, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
        ),
        **tensors("batch"),
        "precision": Precision(name="fp32", min_sqnr_db=100.0),
        "opset": 20,
        "ir_version": 9,
        "golden": ("a.jpg", "b.jpg"),
        "steps": (),
        "tools": {"torch": "2.9"},
        "files": (),
    }
    return Manifest.model_validate({**parts, **changes})


def tensors(batch: int | str) -> dict[str, Any]:
    """Return the input and the outputs of a manifest whose graph takes so many images; `batch` is any number."""
    return {
        "input": TensorSpec(name="pixels", dtype="uint8", shape=(batch, SIZE, SIZE, 3), layout="NHWC", meaning=""),
        "outputs": (
            TensorSpec(name="logits", dtype="float32", shape=(batch, CLASSES), layout="NC", meaning=""),
            TensorSpec(name="embedding", dtype="float32", shape=(batch, DIM), layout="NC", meaning=""),
        ),
    }


def hand_made_golden() -> Golden:
    """Return golden arrays of the shapes that the manifest states."""
    return Golden(
        pixels=np.zeros((2, SIZE, SIZE, 3), np.uint8),
        logits=np.zeros((2, CLASSES), np.float32),
        embedding=np.zeros((2, DIM), np.float32),
    )


def write_hand_made(target: Path, *, overwrite: bool = False, **changes: object) -> Path:
    """Write the hand-made bundle and return its path."""
    manifest = hand_made_manifest(**changes)
    write_bundle(
        target,
        graph=GRAPH,
        manifest=manifest,
        layers=(
            Layer(
                name="fc",
                operator="Gemm",
                output="logits",
                output_shape=(CLASSES,),
                parameters=12,
                macs=5,
                weight_bytes=4,
                activation_bytes=8,
                precision="fp32",
            ),
        ),
        labels=tuple(ascii_lowercase[: manifest.model.classes]),
        golden=hand_made_golden(),
        extras={},
        overwrite=overwrite,
    )
    return target
