import numpy as np
import pytest

from calibration.activations.activation_statistics import Accumulator, TensorStatistics
from calibration.graph.checks import prepare
from calibration.qdq.placement import place
from calibration.qdq.zero_points import MIDDLE, free_tensors, levels_above, share_levels
from runtime.support.engine_names import Int8Target
from tests.helpers.resnet_graphs import basic_block, downsample_block


def reaching(low: list[float], high: list[float]) -> TensorStatistics:
    """Statistics of a tensor with these smallest and largest values of its channels."""
    kept = Accumulator("tensor", len(low))
    lowest, highest = (np.array([one], np.float32) for one in (low, high))
    kept.add(lowest, highest, np.stack([lowest, highest], axis=-1))
    return kept.finish()


@pytest.mark.parametrize(
    ("low", "high", "clip", "expected"),
    [
        # 255 * 1 / 4 = 63.75, up to an even number.
        ([-1.0], [3.0], 3.0, (3.0, 64)),
        # The channel that reaches lowest, and the one that reaches highest.
        ([-0.5, -1.0, 0.0], [3.0, 0.1, 0.2], 3.0, (3.0, 64)),
        # 255 * 0.1 / 8.6 = 2.97.
        ([-0.1], [8.5], 8.5, (8.5, 4)),
        ([0.0], [2.0], 2.0, (2.0, 0)),
        ([0.5], [2.0], 2.0, (2.0, 0)),
        # The threshold is nearer than the highest value alone: 255 * 1 / 3 = 85.
        ([-1.0], [3.0], 2.0, (2.0, 86)),
        # Nearer than both: as many levels below as above.
        ([-1.0], [3.0], 0.5, (0.5, MIDDLE)),
        # 255 * 99 / 199 = 126.9.
        ([-99.0], [100.0], 100.0, (100.0, MIDDLE)),
    ],
)
def test_levels_are_shared_out_as_far_as_a_tensor_reaches_and_is_not_clipped(
    low: list[float], high: list[float], clip: float, expected: tuple[float, int]
) -> None:
    above, zero_point = share_levels(reaching(low, high), clip)
    assert (above, zero_point) == expected
    # Neither side ends before its lowest value or the threshold.
    assert -zero_point * above / levels_above(zero_point) <= max(min(low), -clip) + 1e-6


@pytest.mark.parametrize(("low", "high"), [([-2.0], [2.0]), ([-3.0], [1.0]), ([-1.0], [0.0]), ([-1.0], [-0.5])])
def test_zero_stays_in_the_middle_where_a_tensor_reaches_as_far_below_it(low: list[float], high: list[float]) -> None:
    assert share_levels(reaching(low, high), 3.0) == (3.0, MIDDLE)
    assert share_levels(reaching(low, high), 0.25) == (0.25, MIDDLE)


def test_the_sides_of_residual_adds_are_free_and_what_a_convolution_reads_is_not() -> None:
    for model, sides in ((downsample_block(), {"b.conv2", "b.downsample"}), (basic_block(), {"b.conv2"})):
        graph = prepare(model)
        assert free_tensors(graph, place(graph, target="cpu")) == sides


@pytest.mark.parametrize("target", ["tensorrt", "rtx"])
def test_an_engine_without_zero_points_has_none(target: Int8Target) -> None:
    graph = prepare(downsample_block())
    assert free_tensors(graph, place(graph, target=target)) == frozenset()
