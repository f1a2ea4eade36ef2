import numpy as np
import pytest

from calibration.activations.activation_statistics import Accumulator, TensorStatistics
from calibration.graph.checks import prepare
from calibration.qdq.placement import place
from calibration.qdq.zero_points import levels_above, zero_points
from runtime.support.engine_names import Int8Target
from tests.helpers.resnet_graphs import basic_block, downsample_block


def reaching(name: str, low: list[float], high: list[float]) -> TensorStatistics:
    """Statistics of a tensor with these smallest and largest values of its channels."""
    kept = Accumulator(name, len(low))
    lowest, highest = (np.array([one], np.float32) for one in (low, high))
    kept.add(lowest, highest, np.stack([lowest, highest], axis=-1))
    return kept.finish()


def found_in_a_downsample_block(low: list[float], high: list[float], target: Int8Target = "cpu") -> dict[str, int]:
    graph = prepare(downsample_block())
    placement = place(graph, target=target)
    even = {tensor.name: reaching(tensor.name, [-1.0], [1.0]) for tensor in placement.activations}
    return zero_points(graph, placement, even | {"b.downsample": reaching("b.downsample", low, high)})


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        # 255 * 1 / 4 = 63.75, up to an even number.
        ([-1.0], [3.0], 64),
        # The channel that reaches lowest, and the one that reaches highest.
        ([-0.5, -1.0, 0.0], [3.0, 0.1, 0.2], 64),
        # 255 * 0.1 / 8.6 = 2.97.
        ([-0.1], [8.5], 4),
        ([0.0], [2.0], 0),
        ([0.5], [2.0], 0),
        # 255 * 99 / 199 = 126.9.
        ([-99.0], [100.0], None),
    ],
)
def test_levels_are_shared_out_as_far_as_a_tensor_reaches(low: list[float], high: list[float], expected: int) -> None:
    found = found_in_a_downsample_block(low, high)
    assert found == ({} if expected is None else {"b.downsample": expected})
    if expected is not None:
        # Neither end is clipped.
        step = max(high) / levels_above(expected)
        assert -expected * step <= min(low) + 1e-6


@pytest.mark.parametrize(("low", "high"), [([-2.0], [2.0]), ([-3.0], [1.0]), ([-1.0], [0.0]), ([0.0], [0.0])])
def test_zero_stays_in_the_middle_where_a_tensor_reaches_as_far_below_it(low: list[float], high: list[float]) -> None:
    assert found_in_a_downsample_block(low, high) == {}


@pytest.mark.parametrize("target", ["tensorrt", "rtx"])
def test_an_engine_without_zero_points_gets_none(target: Int8Target) -> None:
    assert found_in_a_downsample_block([-1.0], [3.0], target) == {}


def test_what_a_convolution_reads_keeps_its_zero_in_the_middle() -> None:
    graph = prepare(basic_block())
    placement = place(graph, target="cpu")
    lopsided = {tensor.name: reaching(tensor.name, [-1.0], [3.0]) for tensor in placement.activations}
    assert zero_points(graph, placement, lopsided) == {"b.conv2": 64}
