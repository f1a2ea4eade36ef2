from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import helper

from calibration.graph.checks import prepare
from calibration.weights.second_moments import POSITIONS, LayerMoments, Step, collect_moments
from tests.helpers.graphs import make_model

RNG = np.random.default_rng(0)
SIDE = 7
X = RNG.normal(size=(5, 4, SIDE, SIDE)).astype(np.float32)
STEP = Step(scale=0.05, lowest=-20, highest=17)
# H is summed in float32, in another order than here.
RTOL, ATOL = 1e-4, 1e-4


def convolution(side: int = SIDE, **attributes: Any) -> onnx.ModelProto:
    """One convolution with 3x2 kernels on the input, its mean the logits."""
    groups = attributes.get("group", 1)
    assert isinstance(groups, int)
    weight = RNG.normal(size=(4, 4 // groups, 3, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["map"], name="conv", **attributes),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    return make_model(nodes, {"weight": weight}, input_shape=("n", 4, side, side), outputs={"logits": ("n", 4)})


def moments(model: onnx.ModelProto, x: npt.NDArray[np.float32] = X, *, size: int = 2, seed: int = 0) -> LayerMoments:
    batches: list[npt.NDArray[np.generic]] = [x[start : start + size] for start in range(0, len(x), size)]
    (found,) = collect_moments(prepare(model), {"conv": STEP}, batches, seed=seed, threads=1)
    return found[1]


def unfolded(
    *, padding: Sequence[int], strides: tuple[int, int], dilations: tuple[int, int], groups: int
) -> npt.NDArray[np.float64]:
    """Every patch by PyTorch's unfold, (n, groups, D); padding is left, right, top, bottom."""
    padded = F.pad(torch.from_numpy(X).double(), list(padding))
    columns = F.unfold(padded, (3, 2), dilation=dilations, stride=strides).numpy()
    return columns.transpose(0, 2, 1).reshape(-1, groups, columns.shape[1] // groups)


def rounded(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The quantiser of ONNX written out."""
    return np.clip(np.round(rows / 0.05), -20, 17) * 0.05


def check(found: LayerMoments, rows: npt.NDArray[np.float64]) -> None:
    assert found.rows == len(rows)
    np.testing.assert_allclose(found.totals, rows.sum(axis=0), rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(found.rounded_totals, rounded(rows).sum(axis=0), rtol=RTOL, atol=ATOL)
    for group in range(rows.shape[1]):
        expected = rows[:, group].T @ rows[:, group] / len(rows)
        np.testing.assert_allclose(found.products[group] / found.rows, expected, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 3)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 2, 0, 1)])
def test_moments_are_those_of_all_patches(
    groups: int, strides: tuple[int, int], dilations: tuple[int, int], pads: tuple[int, int, int, int]
) -> None:
    model = convolution(group=groups, strides=strides, dilations=dilations, pads=pads)
    top, left, bottom, right = pads
    rows = unfolded(padding=(left, right, top, bottom), strides=strides, dilations=dilations, groups=groups)
    assert len(rows) <= len(X) * POSITIONS
    check(moments(model), rows)


# Hand-worked on 7 x 7 with 3 x 2 kernels. Stride 1 gives 7 outputs: 2 rows and 1 column are missing. Stride 2
# gives 4 outputs, which reach over 9 rows and 8 columns: the same. Stride 3 gives 3, over 9 rows and 8 columns.
# With dilation 2 the kernel spans 5 x 3: at stride 1, 4 rows and 2 columns are missing.
SAME = {
    ("SAME_UPPER", 1, 1): (0, 1, 1, 1),
    ("SAME_LOWER", 1, 1): (1, 0, 1, 1),
    ("SAME_UPPER", 2, 1): (0, 1, 1, 1),
    ("SAME_LOWER", 2, 1): (1, 0, 1, 1),
    ("SAME_LOWER", 3, 1): (1, 0, 1, 1),
    ("SAME_UPPER", 1, 2): (1, 1, 2, 2),
    ("VALID", 2, 1): (0, 0, 0, 0),
}


@pytest.mark.parametrize(("automatic", "stride", "dilation"), SAME)
def test_automatic_padding_is_onnx_rule(automatic: str, stride: int, dilation: int) -> None:
    strides, dilations = (stride, stride), (dilation, dilation)
    model = convolution(auto_pad=automatic, strides=strides, dilations=dilations)
    padding = SAME[automatic, stride, dilation]
    check(moments(model), unfolded(padding=padding, strides=strides, dilations=dilations, groups=1))


@pytest.mark.parametrize("trans_b", [0, 1])
def test_a_classifiers_rows_are_what_it_reads(trans_b: int) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["act"]),
        helper.make_node("GlobalAveragePool", ["act"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc.weight"], ["logits"], name="conv", transB=trans_b),
        # Something to quantise: a graph without a convolution is refused.
        helper.make_node("Conv", ["x", "weight"], ["map"], name="other"),
    ]
    constants = {
        "fc.weight": RNG.normal(size=(6, 4) if trans_b else (4, 6)).astype(np.float32),
        "weight": np.ones((1, 4, 1, 1), np.float32),
    }
    outputs: dict[str, tuple[int | str, ...]] = {"logits": ("n", 6), "map": ("n", 1, SIDE, SIDE)}
    model = make_model(nodes, constants, input_shape=("n", 4, SIDE, SIDE), outputs=outputs)
    check(moments(model), np.maximum(X, 0).mean(axis=(2, 3), dtype=np.float64)[:, None])


def test_the_rows_drawn_depend_on_the_seed_and_not_on_the_batches() -> None:
    x = RNG.normal(size=(5, 4, 20, 20)).astype(np.float32)
    model = convolution(20)
    whole = moments(model, x, size=5)
    assert whole.rows == 5 * POSITIONS
    for size in (1, 2):
        found = moments(model, x, size=size)
        assert found.rows == whole.rows
        # The same rows summed in another order.
        np.testing.assert_allclose(found.totals, whole.totals, rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(found.products, whole.products, rtol=RTOL, atol=1e-3)
    again, other = moments(model, x, size=5), moments(model, x, size=5, seed=1)
    assert again.products.tobytes() == whole.products.tobytes()
    assert other.rows == whole.rows
    assert not np.allclose(other.totals, whole.totals)


def test_positions_are_drawn_without_replacement_and_differ_by_image() -> None:
    # The value is the position, so each sum of powers says which were drawn.
    size = 10
    picture = np.arange(size * size, dtype=np.float32).reshape(1, 1, size, size)
    x = np.broadcast_to(picture, (2, 4, size, size)).copy()
    weight = np.ones((1, 4, 1, 1), np.float32)
    nodes = [helper.make_node("Conv", ["x", "weight"], ["logits"], name="conv")]
    outputs: dict[str, tuple[int | str, ...]] = {"logits": ("n", 1, size, size)}
    model = make_model(nodes, {"weight": weight}, input_shape=("n", 4, size, size), outputs=outputs)
    first, second = moments(model, x[:1]), moments(model, x)
    assert first.rows == POSITIONS
    # Image 2 drew others than image 1.
    assert second.totals[0, 0] - first.totals[0, 0] != first.totals[0, 0]
    # The mean of 64 different numbers below 100 is 31.5 at least and 67.5 at most.
    assert 31.5 <= first.totals[0, 0] / POSITIONS <= 67.5


def test_every_position_is_drawn_once_where_there_are_no_more() -> None:
    x = np.zeros((1, 4, 8, 8), np.float32)
    x[0, 0] = 2.0 ** np.arange(-4, 4).reshape(8, 1) * np.arange(1, 9)
    weight = np.ones((1, 4, 1, 1), np.float32)
    nodes = [helper.make_node("Conv", ["x", "weight"], ["logits"], name="conv")]
    outputs: dict[str, tuple[int | str, ...]] = {"logits": ("n", 1, 8, 8)}
    found = moments(make_model(nodes, {"weight": weight}, input_shape=("n", 4, 8, 8), outputs=outputs), x)
    check(found, x.transpose(0, 2, 3, 1).reshape(64, 1, 4).astype(np.float64))


@pytest.mark.parametrize("group_bytes", [1 << 20, 4 * 4 * 4])
def test_layers_that_do_not_fit_together_are_run_one_after_the_other(
    group_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calibration.weights.second_moments._GROUP_BYTES", group_bytes)
    nodes = [
        helper.make_node("Conv", ["x", "b"], ["m"], name="z"),
        helper.make_node("Conv", ["m", "a"], ["logits"], name="a"),
    ]
    constants = {name: RNG.normal(size=(4, 4, 1, 1)).astype(np.float32) for name in ("a", "b")}
    outputs: dict[str, tuple[int | str, ...]] = {"logits": ("n", 4, SIDE, SIDE)}
    model = prepare(make_model(nodes, constants, input_shape=("n", 4, SIDE, SIDE), outputs=outputs))
    steps = {"a": STEP, "z": STEP}
    found = list(collect_moments(model, steps, iter([X[:3], X[3:]]), threads=1))
    assert [name for name, _ in found] == ["z", "a"]
    check(found[0][1], X.transpose(0, 2, 3, 1).reshape(-1, 1, 4).astype(np.float64))
    read = np.einsum("kc,nchw->nhwk", constants["b"][:, :, 0, 0].astype(np.float64), X).reshape(-1, 1, 4)
    check(found[1][1], read)
