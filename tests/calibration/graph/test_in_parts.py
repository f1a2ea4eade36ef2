"""Test that a graph run part by part gives what it gives in one run."""

import errno
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from calibration.graph import in_parts
from calibration.graph.in_parts import run_in_parts
from calibration.graph.run import open_session
from runtime.errors import CalibrationError
from runtime.support.temporary import PREFIX
from tests.helpers.graphs import evaluate, make_model
from tests.helpers.resnet_graphs import (
    basic_block,
    bottleneck,
    channel_attention_block,
    downsample_block,
    excitation_block,
)

RNG = np.random.default_rng(0)


def images(model: onnx.ModelProto, count: int) -> np.ndarray:
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    return RNG.normal(size=(count, *shape)).astype(np.float32)


def outputs(model: onnx.ModelProto) -> list[str]:
    return [name for node in model.graph.node for name in node.output]


@pytest.mark.parametrize("make", [basic_block, bottleneck, downsample_block, channel_attention_block, excitation_block])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_all_tensors_are_those_of_one_run(make: Callable[[], onnx.ModelProto], size: int) -> None:
    model = make()
    x, names = images(model, 3), outputs(model)
    wanted = dict(zip(names, evaluate(model, x, names), strict=True))
    parts = [names[at : at + size] for at in range(0, len(names), size)]
    given = []
    for part, found in zip(parts, run_in_parts(model, parts, [x[:2], x[2:]], threads=1), strict=True):
        batches = list(found)
        for name in part:
            np.testing.assert_allclose(np.concatenate([batch[name] for batch in batches]), wanted[name], 1e-4, 1e-5)
        given += part
    assert given == names


def test_a_part_gets_nothing_but_what_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    # x -> conv c -> relu r -> conv d, and x added to it: behind `c` the rest reads `c` and `x`, behind `d` `d` and `x`.
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"]),
        onnx.helper.make_node("Relu", ["c"], ["r"]),
        onnx.helper.make_node("Conv", ["r", "w"], ["d"]),
        onnx.helper.make_node("Add", ["d", "x"], ["logits"]),
    ]
    weight = RNG.normal(size=(2, 2, 1, 1)).astype(np.float32)
    model = make_model(nodes, {"w": weight}, input_shape=("n", 2, 4, 4), outputs={"logits": ("n", 2, 4, 4)})
    opened: list[tuple[list[str], list[str]]] = []

    def spy(part: onnx.ModelProto, **options: Any) -> object:
        opened.append(([value.name for value in part.graph.input], [node.op_type for node in part.graph.node]))
        return open_session(part, **options)

    monkeypatch.setattr(in_parts, "open_session", spy)
    x = RNG.normal(size=(2, 2, 4, 4)).astype(np.float32)
    for part in run_in_parts(model, [["c"], ["d", "x"], ["logits"]], [x], threads=1):
        list(part)
    assert opened == [(["x"], ["Conv"]), (["c", "x"], ["Relu", "Conv"]), (["d", "x"], ["Add"])]


def test_the_images_are_read_once_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = basic_block()
    names = outputs(model)
    read = []

    def batches() -> Iterator[np.ndarray]:
        for number in range(3):
            read.append(number)
            yield images(model, 2)

    for part in run_in_parts(model, [[names[0]], [names[1]], [names[-1]]], batches(), threads=1):
        list(part)
        # Behind it stand the files of one part, and no more than a file each of a batch's tensors.
        assert len(list(tmp_path.glob(f"{PREFIX}*/*/*.npy"))) <= 3 * 2
    assert read == [0, 1, 2]
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_that_names_the_folder_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = basic_block()
    names = outputs(model)
    run = run_in_parts(model, [[names[0]], [names[-1]]], [images(model, 2)], threads=1)
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", _refuse)
        with pytest.raises(CalibrationError, match=r"^cannot write .* \(No space left on device\): free .* TMPDIR"):
            list(next(run))
    run.close()
    assert not list(tmp_path.iterdir())


def _refuse(_file: Path, _contents: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
