"""Learned ranges: against an optimum known from theory, and against noise that is drawn."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import helper

from calibration.graph.channel_groups import channel_groups
from calibration.graph.checks import prepare
from calibration.graph.in_torch import TorchGraph
from calibration.graph.run import run_outputs
from calibration.qdq.placement import Placement, QuantizedTensor, place
from calibration.qdq.write import insert_qdq
from calibration.qdq.zero_points import MIDDLE, levels_above
from calibration.search import learn_ranges as module
from calibration.search.learn_ranges import Ranges, learn_ranges
from calibration.weights.equalize import FLOOR, apply_factors
from runtime.support.engine_names import Int8Target
from tests.helpers.graphs import make_model
from tests.helpers.resnet_graphs import basic_block

# Clipping that is best for a Gaussian at 8 bits, in standard deviations: Banner et al. 2019, Post training 4-bit
# quantization of convolutional networks (arXiv 1810.05723), section 3.1 (2.55 at 4 bits).
BEST_CLIP = 3.92
# Beyond it lies one value in ten thousand: what is learned from few batches is near it, not at it.
NEAR = 0.08
DRAWS = 16
# Measured, by how many times the largest magnitude the thresholds are to begin with: 12.3, 1.1, 4.7.
LEAST_GAIN_DB = {0.3: 9.0, 1.0: 0.5, 4.0: 3.0}
# Measured: 4 %. It is linear in the noise, and the ReLUs behind are not.
FORETOLD = 0.1
RNG = np.random.default_rng(0)


def linear_graph(channels: int, size: int, rng: np.random.Generator) -> onnx.ModelProto:
    """A convolution of the input, pooled: whatever is done to the input adds up in the outputs."""
    constants = {"w": rng.normal(size=(16, channels, 1, 1)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["embedding"], name="flatten"),
    ]
    return make_model(nodes, constants, input_shape=("n", channels, size, size), outputs={"embedding": ("n", 16)})


@pytest.mark.parametrize("start", [2.5, 8.0])
def test_the_threshold_of_gaussian_values_is_the_one_that_theory_gives(start: float) -> None:
    rng, sigma = np.random.default_rng(0), 3.0
    images = (rng.normal(size=(64, 8, 32, 32)) * sigma).astype(np.float32)
    graph = prepare(linear_graph(8, 32, rng))
    tensor = QuantizedTensor("x", (("conv", 0),), unsigned=False)
    batches = [np.arange(at, at + 4, dtype=np.uint8) for at in range(0, 64, 4)]
    found = learn_ranges(
        graph,
        [tensor],
        (),
        Ranges({"x": start * sigma}, {}),
        batches,
        feed=lambda numbers: images[numbers],
        outputs=["embedding"],
        zero_points={"x": MIDDLE},
    )
    assert found is not None
    assert found.factors == {}
    assert found.clips["x"] / sigma == pytest.approx(BEST_CLIP, rel=NEAR)


def test_below_zero_a_tensor_is_clipped_where_its_levels_end() -> None:
    graph = prepare(linear_graph(2, 8, np.random.default_rng(0)))
    values = np.linspace(-9, 9, 256, dtype=np.float32).reshape(2, 2, 8, 8)
    # 64 levels below zero and 191 above.
    for zero_point, lowest in ((64, -2.0 * 64 / 191), (0, 0.0), (MIDDLE, -2.0)):
        tensor = QuantizedTensor("x", (("conv", 0),), unsigned=False)
        start, zeros = Ranges({"x": 2.0}, {}), {"x": zero_point}
        learner = module._Learner(TorchGraph(graph), [tensor], (), start, ["embedding"], zeros)
        assert learner.measure(lambda: [values], lambda: None)
        (conv,) = [node for node in graph.graph if node.name == "conv"]
        found = learner._clipping()(conv, 0, torch.from_numpy(values))
        np.testing.assert_allclose(found.detach().numpy(), np.clip(values, lowest, 2.0), rtol=1e-6)


def drawn_images(count: int) -> np.ndarray:
    """Images with structure, (N, 3, 16, 16) float32: noise over a coarse pattern."""
    coarse = np.kron(RNG.normal(size=(count, 3, 4, 4)), np.ones((4, 4)))
    return (coarse + RNG.normal(size=(count, 3, 16, 16)) * 0.3).astype(np.float32)


IMAGES = drawn_images(64)
BATCHES = [np.arange(at, at + 4, dtype=np.uint8) for at in range(0, 64, 4)]
OUTPUTS = ("logits", "embedding")


def network(target: Int8Target = "cpu") -> tuple[ir.Model, Placement, dict[str, int]]:
    """A basic block, where its pairs stand without weights, and the zero point of each."""
    graph = prepare(basic_block())
    placement = replace(place(graph, target=target), weights=())
    return graph, placement, {one.name: 0 if one.unsigned else MIDDLE for one in placement.activations}


def largest(graph: ir.Model, placement: Placement) -> dict[str, float]:
    """The largest magnitude of every tensor that has a pair, by onnxruntime."""
    names = [tensor.name for tensor in placement.activations]
    proto = ir.to_proto(graph)
    known = {value.name for value in proto.graph.output} | {"x"}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    found = run_outputs(proto, [name for name in names if name != "x"], [IMAGES])
    inside = dict(zip([name for name in names if name != "x"], found[0], strict=True))
    return {name: float(np.abs(inside.get(name, IMAGES)).max()) for name in names}


def noise_of(graph: ir.Model, placement: Placement, ranges: Ranges, zeros: Mapping[str, int]) -> float:
    """The noise of a graph with Q/DQ, relative to the signal, the mean over its outputs; by onnxruntime."""
    scaled = apply_factors(graph, channel_groups(graph), ranges.factors)
    scales = {name: ranges.clips[name] / levels_above(zeros[name]) for name in zeros}
    insert_qdq(scaled, placement, activation_scales=scales, weights={}, float_weights=False, shifted=False)
    wanted = run_outputs(ir.to_proto(graph), OUTPUTS, [IMAGES])[0]
    found = run_outputs(ir.to_proto(scaled), OUTPUTS, [IMAGES])[0]
    return float(
        np.mean([((one - other) ** 2).sum() / (one**2).sum() for one, other in zip(wanted, found, strict=True)])
    )


def learned(graph: ir.Model, placement: Placement, start: Ranges, zeros: Mapping[str, int]) -> Ranges:
    found = learn_ranges(
        graph,
        placement.activations,
        channel_groups(graph),
        start,
        BATCHES,
        feed=lambda numbers: IMAGES[numbers],
        outputs=OUTPUTS,
        zero_points=zeros,
    )
    assert found is not None
    return found


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a block of this size."""
    monkeypatch.setattr(module, "STEPS", 80)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
@pytest.mark.parametrize("times", [0.3, 1.0, 4.0])
def test_learned_ranges_leave_less_noise_than_those_they_began_with(target: Int8Target, times: float) -> None:
    graph, placement, zeros = network(target)
    start = Ranges({name: times * amax for name, amax in largest(graph, placement).items()}, {})
    found = learned(graph, placement, start, zeros)
    gain = 10 * np.log10(noise_of(graph, placement, start, zeros) / noise_of(graph, placement, found, zeros))
    assert gain > LEAST_GAIN_DB[times]


@pytest.mark.usefixtures("few_steps")
def test_the_same_images_give_the_same_ranges() -> None:
    graph, placement, zeros = network()
    start = Ranges(largest(graph, placement), {})
    first, again = (learned(graph, placement, start, zeros) for _ in range(2))
    assert first.clips == again.clips
    for name, factors in first.factors.items():
        np.testing.assert_array_equal(factors, again.factors[name])


@pytest.mark.usefixtures("few_steps")
def test_factors_are_within_bounds_and_only_of_groups_that_can_be_scaled() -> None:
    graph, placement, zeros = network()
    found = learned(graph, placement, Ranges(largest(graph, placement), {}), zeros)
    scalable = {name for group in channel_groups(graph) if group.scalable for name in group.tensors}
    assert set(found.factors) <= scalable
    assert found.factors
    for factors in found.factors.values():
        assert factors.max() == 1.0
        assert factors.min() >= FLOOR


def test_a_network_whose_outputs_are_zero_teaches_nothing() -> None:
    graph, placement, zeros = network()
    for value in graph.graph.initializers.values():
        if value.name in ("fc.weight", "fc.bias"):
            value.const_value = ir.tensor(np.zeros_like(value.const_value.numpy()), name=value.name)
    assert (
        learn_ranges(
            graph,
            placement.activations,
            (),
            Ranges(dict.fromkeys(zeros, 1.0), {}),
            BATCHES,
            feed=lambda numbers: IMAGES[numbers],
            outputs=OUTPUTS,
            zero_points=zeros,
        )
        is None
    )


def test_the_noise_of_rounding_is_foretold() -> None:
    """Against noise that is drawn: each value moved by up to half a step, except zeros, which are levels."""
    graph, placement, zeros = network()
    amax = largest(graph, placement)
    steps = {name: amax[name] / 40 for name in zeros}
    learner = module._Learner(
        TorchGraph(graph), placement.activations, (), Ranges(amax, {}), OUTPUTS, dict.fromkeys(zeros, 255 - 40)
    )
    module._TOWARDS_MEAN, before = 0.0, module._TOWARDS_MEAN
    try:
        # Other signs each time: of one draw for each image, the estimate is off by an eighth.
        assert learner.measure(lambda: (IMAGES[numbers] for numbers in BATCHES * DRAWS), lambda: None)
    finally:
        module._TOWARDS_MEAN = before
    foretold = float(learner._rounding().detach())
    readers = {use: tensor.name for tensor in placement.activations for use in tensor.uses}
    rng = torch.Generator().manual_seed(0)
    wanted = TorchGraph(graph).run(IMAGES, OUTPUTS)
    drawn = []
    for _ in range(40):
        moved: dict[str, torch.Tensor] = {}

        def read(
            node: ir.Node, index: int, values: torch.Tensor, moved: dict[str, torch.Tensor] = moved
        ) -> torch.Tensor:
            name = readers.get((node.name or "", index))
            if name is None:
                return values
            if name not in moved:
                noise = (torch.rand(values.shape, generator=rng) - 0.5) * steps[name]
                moved[name] = values + noise * (values != 0)
            return moved[name]

        found = TorchGraph(graph).run(IMAGES, OUTPUTS, read)
        drawn.append(
            np.mean(
                [
                    float((one - other).square().sum() / other.square().sum())
                    for one, other in zip(found, wanted, strict=True)
                ]
            )
        )
    assert foretold == pytest.approx(float(np.mean(drawn)), rel=FORETOLD)
