"""Helpers on exported graphs and bundles: other input sizes, changed files with their hashes put right."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper


def graph_at_size(graph: bytes, size: int) -> onnx.ModelProto:
    """Return a fully convolutional uint8 graph for pictures of another size, with shapes inferred anew."""
    model = onnx.load_from_string(graph)
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    dimensions[1].dim_value = dimensions[2].dim_value = size
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def change_weights(graph: bytes, change: Callable[[str, np.ndarray], np.ndarray]) -> bytes:
    """Return the graph with every float constant of two or more dimensions replaced by `change(name, array)`."""
    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim >= 2 and array.dtype in (np.float32, np.float16):
            changed = np.asarray(change(tensor.name, array.copy()), array.dtype)
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    return model.SerializeToString()


def copy_bundle(
    bundle: Path,
    target: Path,
    *,
    files: dict[str, bytes] | None = None,
    edit: Callable[[dict[str, Any]], object] = lambda _manifest: None,
) -> Path:
    """Copy a bundle with some files replaced and the manifest edited, all hashes right again."""
    shutil.copytree(bundle, target)
    manifest = json.loads((target / "bundle.json").read_text(encoding="utf-8"))
    for name, content in (files or {}).items():
        (target / name).write_bytes(content)
        for entry in manifest["files"]:
            if entry["path"] == name:
                entry.update(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    edit(manifest)
    (target / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    return target


def decibels(reference: np.ndarray, found: np.ndarray) -> float:
    """Return the SQNR as issue and documents define it, written out again."""
    reference, found = reference.astype(np.float64), found.astype(np.float64)
    noise = ((reference - found) ** 2).sum()
    return float("inf") if noise == 0 else float(10 * np.log10((reference**2).sum() / noise))
