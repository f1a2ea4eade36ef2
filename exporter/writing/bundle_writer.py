"""Write a bundle: whole or absent, with the licence in every part of it."""

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx

from runtime.bundle.bundle import Golden, list_files
from runtime.bundle.directory import atomic_directory
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
from runtime.bundle.manifest import Licence, Manifest
from runtime.support.engine_names import DISTRIBUTIONS
from runtime.support.installed import installed_versions

# What made the bundle; versions of the packages that touch its bytes.
_TOOLS = (
    "export-ssl",
    "torch",
    "timm",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxsim",
    *DISTRIBUTIONS["onnxruntime"],
    "numpy",
    "pillow",
)


def tool_versions() -> dict[str, str]:
    """Return the versions of the packages that make a bundle."""
    return installed_versions(_TOOLS)


def add_metadata(model: onnx.ModelProto, manifest: Manifest) -> None:
    """Put the key facts into the ONNX file, so that the file alone still says what it is."""
    facts = {
        "model": manifest.model.timm_tag or manifest.model.architecture,
        "weights": f"{manifest.weights.source}: {manifest.weights.name}",
        "weights_tensors_sha256": manifest.weights.tensors_sha256,
        "licence": manifest.licence.spdx,
        "licence_notice": manifest.licence.notice,
        "precision": manifest.precision.name,
        "classes": str(manifest.model.classes),
        "preprocessing": manifest.preprocessing.model_dump_json(),
        "producer": f"export-ssl {metadata.version('export-ssl')}",
    }
    if manifest.precision.int8 is not None:
        facts["int8_target"] = manifest.precision.int8.target
    del model.metadata_props[:]
    for key, value in facts.items():
        model.metadata_props.add(key=f"export_ssl.{key}", value=value)
    model.producer_name, model.producer_version = "export-ssl", metadata.version("export-ssl")
    model.doc_string = f"{manifest.licence.spdx}. {manifest.licence.notice}"


def write_bundle(
    target: Path,
    *,
    graph: bytes,
    manifest: Manifest,
    layers: tuple[Layer, ...],
    labels: tuple[str, ...],
    golden: Golden,
    extras: Mapping[str, bytes],
    overwrite: bool,
) -> Manifest:
    """Write a bundle to `target` and return its manifest with the list of files.

    Args:
        target: The directory to make.
        graph: The serialised ONNX model.
        manifest: All but `files`.
        layers: Contents of layers.json.
        labels: One line per class; not written without a classifier.
        golden: Golden inputs and outputs.
        extras: Name to content of files that only some bundles have, such as `calibration.json`.
        overwrite: Whether a bundle at `target` may be replaced.

    Raises:
        BundleError: `target` cannot be written.
    """
    with atomic_directory(target, overwrite=overwrite) as staging:
        (staging / MODEL_FILE).write_bytes(graph)
        (staging / LAYERS_FILE).write_text(LayerList(layers=layers).model_dump_json(indent=1) + "\n", encoding="utf-8")
        (staging / LICENCE_FILE).write_text(licence_text(manifest.licence, manifest), encoding="utf-8")
        (staging / GOLDEN_PIXELS).parent.mkdir()
        np.save(staging / GOLDEN_PIXELS, golden.pixels, allow_pickle=False)
        np.save(staging / GOLDEN_EMBEDDING, golden.embedding, allow_pickle=False)
        if manifest.model.classes:
            (staging / LABELS_FILE).write_text("\n".join(labels) + "\n", encoding="utf-8")
            np.save(staging / GOLDEN_LOGITS, golden.logits, allow_pickle=False)
        for name, content in extras.items():
            (staging / name).write_bytes(content)
        complete = manifest.model_copy(update={"files": list_files(staging)})
        text = json.dumps(complete.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (staging / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
    return complete


def licence_text(licence: Licence, manifest: Manifest) -> str:
    """Return the text of the licence file: what it covers, the identifier, the notice, the address."""
    lines = [
        f"The weights in this bundle ({manifest.model.timm_tag or manifest.model.architecture}, "
        f"from {manifest.weights.source} {manifest.weights.name}) and everything derived from them are under:",
        "",
        f"    SPDX-License-Identifier: {licence.spdx}",
        "",
        licence.notice,
        *([licence.url] if licence.url else []),
    ]
    return "\n".join(lines) + "\n"
