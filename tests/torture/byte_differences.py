"""What differs between two files of the same name, in a few words, and the table of it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.documents.scale_costs import table

# Rows of the table: what the files are, and the pattern of their paths in a run's folder.
ROWS: dict[str, str] = {
    "`model.onnx`, FP32": r"fp32/model\.onnx",
    "`model.onnx`, FP16": r"fp16/model\.onnx",
    "`model.onnx`, INT8": r"int8/model\.onnx",
    "`model.onnx`, INT8 for CPUs": r"int8-cpu/model\.onnx",
    "`calibration.json`": r"int8[^/]*/calibration\.json",
    "`--calib-cache` file": r"int8\.cache",
    "`golden/pixels.npy`": r"[^/]*/golden/pixels\.npy",
    "`golden/logits.npy`, `golden/embedding.npy`": r"[^/]*/golden/(?:logits|embedding)\.npy",
    "`layers.json`": r"[^/]*/layers\.json",
    "`labels.txt`, `LICENSE-WEIGHTS.txt`": r"[^/]*/(?:labels|LICENSE-WEIGHTS)\.txt",
    "`bundle.json`": r"[^/]*/bundle\.json",
    "embeddings, FP32, onnxruntime": r"embedded-fp32-onnxruntime/data/.*",
    "embeddings, FP32, OpenVINO": r"embedded-fp32-openvino/data/.*",
    "embeddings, INT8, onnxruntime": r"embedded-int8-cpu-onnxruntime/data/.*",
    "embeddings, INT8, OpenVINO": r"embedded-int8-cpu-openvino/data/.*",
    "records of the embedding jobs": r"embedded-[^/]*/(?!data/).*",
    "Triton repository": r"repository/.*",
}
_NUMBERS = "numbers, up to "
_SHOWN_FIELDS = 4


def difference(first: Path, other: Path) -> str:
    """Return what differs of a file: an empty string where the bytes are the same.

    Numbers that differ are told as the largest absolute difference over the largest magnitude.
    """
    if not other.exists():
        return "is not there"
    if first.read_bytes() == other.read_bytes():
        return ""
    compare = {".npy": _arrays, ".onnx": _graphs, ".json": _fields, ".parquet": _columns}.get(first.suffix)
    return compare(first, other) if compare else "other bytes"


def _arrays(first: Path, other: Path) -> str:
    return _told([(np.load(first), np.load(other))])


def _graphs(first: Path, other: Path) -> str:
    """Compare two ONNX files: the tensors where all else is the same."""
    import onnx
    from onnx import numpy_helper

    graphs = [onnx.load(path).graph for path in (first, other)]
    tensors = [{one.name: numpy_helper.to_array(one) for one in graph.initializer} for graph in graphs]
    nodes = [[node.SerializeToString() for node in graph.node] for graph in graphs]
    if nodes[0] != nodes[1] or tensors[0].keys() != tensors[1].keys():
        return "another graph"
    return _told([(tensors[0][name], tensors[1][name]) for name in tensors[0]], otherwise="metadata")


def _columns(first: Path, other: Path) -> str:
    import pyarrow.parquet as pq

    tables = [pq.read_table(path) for path in (first, other)]
    if tables[0].schema != tables[1].schema or tables[0].num_rows != tables[1].num_rows:
        return "other columns or rows"
    pairs = []
    for name in tables[0].column_names:
        values = [one[name].to_pylist() for one in tables]
        if values[0] == values[1]:
            continue
        if name not in ("embedding", "scores"):
            return f"column {name}"
        pairs.append((np.array(values[0]), np.array(values[1])))
    return _told(pairs, otherwise="metadata")


def _told(pairs: list[tuple[Any, Any]], otherwise: str = "other bytes") -> str:
    """Return in words how far arrays are from one another, or `otherwise` where they are the same."""
    if any(one.shape != two.shape or one.dtype != two.dtype for one, two in pairs):
        return "other shapes"
    differing = [(one.astype(np.float64), two.astype(np.float64)) for one, two in pairs if not np.array_equal(one, two)]
    if not differing:
        return otherwise
    worst = max(float(np.abs(one - two).max() / max(np.abs(one).max(), np.finfo(float).tiny)) for one, two in differing)
    return f"{_NUMBERS}{worst:.0e}"


def _fields(first: Path, other: Path) -> str:
    """Return which top-level fields of two JSON objects differ."""
    values = [json.loads(path.read_text(encoding="utf-8")) for path in (first, other)]
    names = dict.fromkeys([*values[0], *values[1]])
    differing = [name for name in names if values[0].get(name) != values[1].get(name)]
    return "fields " + ", ".join(f"`{name}`" for name in differing) if differing else "other bytes"


def cell(found: list[str]) -> str:
    """Return what a row says of some files: `same`, or their largest difference."""
    differing = [what for what in found if what]
    if not differing:
        return "same" if found else "-"
    if all(what.startswith(_NUMBERS) for what in differing):
        return max(differing, key=lambda what: float(what.removeprefix(_NUMBERS)))
    words = [what for what in differing if not what.startswith(_NUMBERS)]
    named = list(dict.fromkeys(name for what in words for name in re.findall(r"`\w+`", what)))
    if named:
        more = ", …" if len(named) > _SHOWN_FIELDS else ""
        return f"fields {', '.join(named[:_SHOWN_FIELDS])}{more}"
    return words[0]


def page_table(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of the page: a row for each kind of file that was made, a column for each setting that ran."""
    ran = [setting for setting in settings.values() if "files" in setting]
    rows = [
        [title, *(cell([what for file, what in one["files"].items() if re.fullmatch(pattern, file)]) for one in ran)]
        for title, pattern in ROWS.items()
    ]
    made = [row for row in rows if {*row[1:]} != {"-"}]
    return table(["file", *(setting["title"] for setting in ran)], made)
