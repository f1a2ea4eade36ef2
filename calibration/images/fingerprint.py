"""What a calibration was made from, so that it is never used for anything else."""

import hashlib
from collections.abc import Mapping

import numpy as np
import onnx

from calibration.graph.without_weights import NO_WEIGHTS, Weights
from runtime.bundle.calibration_json import Fingerprint
from runtime.bundle.manifest import Preprocessing
from runtime.support.engine_names import DISTRIBUTIONS
from runtime.support.installed import installed_versions

_TOOLS = ("export-ssl", "onnx", *DISTRIBUTIONS["onnxruntime"], "numpy", "pillow")


def make_fingerprint(
    model: onnx.ModelProto,
    hashes: Mapping[str, str],
    *,
    preprocessing: Preprocessing,
    options: Mapping[str, str],
    weights: Weights = NO_WEIGHTS,
) -> Fingerprint:
    """Return the fingerprint of a calibration.

    Args:
        model: The float graph.
        hashes: Image name to the sha256 of its file, in the order of use.
        preprocessing: Preprocessing from image file to pixels.
        options: Option to its value in words; with the effort `high` PyTorch's version counts too.
        weights: Large constants that stand outside the graph, by name.
    """
    images = "".join(f"{name}\0{digest}\n" for name, digest in hashes.items())
    return Fingerprint(
        graph_sha256=_hash_graph(model),
        weights_sha256=_hash_weights(model, weights),
        images=len(hashes),
        images_sha256=hashlib.sha256(images.encode(errors="surrogateescape")).hexdigest(),
        preprocessing=preprocessing,
        options=dict(sorted(options.items())),
        versions=installed_versions((*_TOOLS, "torch") if options.get("effort") == "high" else _TOOLS),
    )


def first_difference(current: Fingerprint, stored: Fingerprint) -> str | None:
    """Return what differs first, with both values; None where nothing does.

    The options come first: another seed draws other images, and is why they differ.
    """
    kept, now = stored.model_dump(), current.model_dump()
    for field in ("options", *(field for field in now if field != "options")):
        value, other = now[field], kept[field]
        if value == other:
            continue
        if isinstance(value, dict):
            name = next(key for key in sorted({*value, *other}) if value.get(key) != other.get(key))
            now_there, stored_there = (one.get(name, "not there") for one in (value, other))
            return f"{field}: {name} is {now_there} now, {stored_there} in the file"
        return f"{field} is {_short(value)} now, {_short(other)} in the file"
    return None


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _hash_graph(model: onnx.ModelProto) -> str:
    """Return a sha256 that documentation, the model's own name and the order of constants do not change.

    Names of nodes and tensors do: weights and scales are stored by them.
    """
    digest = hashlib.sha256()
    for entry in sorted(model.opset_import, key=lambda entry: entry.domain):
        digest.update(f"{entry.domain} {entry.version}\n".encode())
    for node in model.graph.node:
        digest.update(f"{node.domain} {node.op_type} {node.name} {list(node.input)} {list(node.output)}\n".encode())
        for attribute in sorted(node.attribute, key=lambda attribute: attribute.name):
            digest.update(attribute.SerializeToString(deterministic=True))
    for value in (*model.graph.input, *model.graph.output):
        digest.update(value.name.encode() + value.type.SerializeToString(deterministic=True))
    return digest.hexdigest()


def _hash_weights(model: onnx.ModelProto, weights: Weights) -> str:
    digest = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda tensor: tensor.name):
        array = weights[tensor.name] if tensor.name in weights else onnx.numpy_helper.to_array(tensor)
        digest.update(f"{tensor.name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
