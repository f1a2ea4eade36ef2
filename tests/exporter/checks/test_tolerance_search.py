"""A random search over networks: no right graph is refused, and no wrong one is passed.

A right graph is the network with its BatchNorms folded and its channels in another order, so that every sum is added up
otherwise, in onnxruntime; or what the steps of the export make of it. A wrong one is a right one with a fault, whose
effect PyTorch tells in float64.

The networks are the same ones in every run. `SEARCH_EXAMPLES=1000` searches among so many others.
"""

import copy
import math
import os
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from calibration.graph.checks import infer_shapes
from calibration.graph.without_weights import Skeleton, without_weights
from exporter.checks.golden import golden_outputs, named_outputs, run_original
from exporter.checks.rounding_noise import RoundingNoise
from exporter.checks.step_check import Check, check_step
from exporter.checks.tolerance import FLOOR_DB, fp16_tolerance, fp32_tolerance, margin_db
from exporter.passes.fix_batch import fix_batch
from exporter.passes.fold_batchnorm import fold_batchnorm
from exporter.passes.fp16 import convert_to_fp16
from exporter.passes.opset import convert_opset
from exporter.passes.ranges import measure_ranges
from exporter.passes.simplify import simplify
from exporter.passes.tracing import trace_network
from exporter.passes.written_roundings import write_roundings
from runtime.bundle.bundle import Golden
from runtime.errors import VerificationError
from runtime.original.network import wrap, wrap_fp16
from tests.helpers.exported import decibels
from tests.helpers.small_networks import MEAN, PREPROCESSING, SIZE, Recipe, SmallNetwork, as_onnx, build, exact_outputs

# A fault that changes an output by a ten-thousandth of it, or by a hundred times what rounding changes, is a fault.
VISIBLE_DB, BESIDE_ROUNDING_DB = 80.0, 40.0
# In FP16: a hundredth, or what stands out of the noise by 12 dB beyond the margin.
VISIBLE_FP16_DB, BESIDE_FP16_DB = 40.0, 12.0

_EXAMPLES = os.environ.get("SEARCH_EXAMPLES")
search = settings(max_examples=int(_EXAMPLES or 25), derandomize=_EXAMPLES is None, deadline=None)
# Tracing takes seconds.
search_traced = settings(search, max_examples=int(_EXAMPLES or 20) // 10 or 1)

recipes = st.builds(
    Recipe,
    seed=st.integers(0, 2**31),
    blocks=st.integers(0, 4),
    width=st.integers(1, 24),
    classes=st.sampled_from([1, 2, 3, 10, 100]),
    images=st.integers(1, 8),
    brightness=st.sampled_from([3, 10, 30, 128, 255]),
    weight_scale=st.integers(-30, 30),
    feature_scale=st.sampled_from([-60, -20, 0, 0, 0, 20, 60]),
    classifier_scale=st.sampled_from([-60, -10, 0, 0, 0, 10, 40]),
    bias=st.sampled_from([0.0, 1e-6, 1.0, 1e4]),
    zero_classifier=st.sampled_from([False, False, False, True]),
    pictures=st.sampled_from(["detailed", "detailed", "flat", "grey", "half"]),
)
# Numbers below 2^-14 have fewer bits in FP16: a network of such numbers may be refused there.
fp16_recipes = recipes.map(
    lambda recipe: replace(
        recipe, feature_scale=recipe.feature_scale % 4, classifier_scale=max(recipe.classifier_scale, 0) % 7
    )
)
SMALL = Recipe(
    seed=1,
    blocks=2,
    width=8,
    classes=10,
    images=4,
    brightness=255,
    weight_scale=0,
    feature_scale=0,
    classifier_scale=0,
    bias=1.0,
    zero_classifier=False,
    pictures="detailed",
)
ZERO_CLASSIFIER = replace(SMALL, zero_classifier=True)
CONSTANT_ZERO = replace(ZERO_CLASSIFIER, bias=0.0)
DARK_SINGLE_CLASS = replace(SMALL, classes=1, brightness=10, bias=0.0)
TINY = replace(SMALL, feature_scale=-60, classifier_scale=-40, bias=0.0)
HUGE = replace(SMALL, feature_scale=60, classifier_scale=40)
# One layer whose sums are all equal: no mean of many takes their rounding out.
GREY = replace(SMALL, seed=1811821860, blocks=0, width=5, images=6, pictures="grey")
HALF_FLAT = replace(SMALL, blocks=0, pictures="half")


def golden_of(network: SmallNetwork, pixels: np.ndarray) -> Golden:
    return golden_outputs(wrap(network, PREPROCESSING, input_kind="uint8"), pixels, pixels)


def float32_graph(network: SmallNetwork, *, shuffled: int | None = None) -> ir.Model:
    """Return the folded graph, its channels in another order."""
    order = np.arange if shuffled is None else np.random.default_rng(shuffled).permutation
    model = ir.from_proto(as_onnx(network, order))
    fold_batchnorm(model)
    return infer_shapes(model)


def check(model: ir.Model | Skeleton, golden: Golden, required: dict[str, float], *, as_written: bool = True) -> Check:
    graph = model if isinstance(model, Skeleton) else without_weights(model)
    return check_step(
        graph.to_bytes(),
        step="search",
        feed=golden.pixels,
        golden=golden,
        required=required,
        weights=graph.weights,
        as_written=as_written,
    )


def tolerance_of(network: SmallNetwork, golden: Golden) -> dict[str, float]:
    rounding = RoundingNoise(network, PREPROCESSING).measure(golden)
    references = named_outputs(golden.logits, golden.embedding)
    return dict(fp32_tolerance(ir.from_proto(as_onnx(network)), references, rounding))


def alive(golden: Golden) -> bool:
    """Whether the images tell anything: a network that is dead on them has nothing to be judged by."""
    return bool(np.abs(golden.embedding).max() > 0)


@search
@given(recipe=recipes)
@example(SMALL)
@example(ZERO_CLASSIFIER)
@example(CONSTANT_ZERO)
@example(DARK_SINGLE_CLASS)
@example(TINY)
@example(HUGE)
@example(GREY)
@example(HALF_FLAT)
def test_no_right_graph_is_refused_in_float32(recipe: Recipe) -> None:
    network, pixels = build(recipe)
    golden = golden_of(network, pixels)
    required = tolerance_of(network, golden)
    assert all(math.isfinite(found) and found >= FLOOR_DB for found in required.values())
    for shuffled in (None, 1, 2):
        check(float32_graph(network, shuffled=shuffled), golden, required)


@search_traced
@given(recipe=recipes)
@example(SMALL)
@example(GREY)
def test_no_step_of_the_export_is_refused(recipe: Recipe) -> None:
    network, pixels = build(recipe)
    golden = golden_of(network, pixels)
    rounding = RoundingNoise(network, PREPROCESSING).measure(golden)
    model = trace_network(
        wrap(network, PREPROCESSING, input_kind="uint8"),
        image_size=SIZE,
        input_kind="uint8",
        outputs=("logits", "embedding"),
    )
    required = dict(fp32_tolerance(model, named_outputs(golden.logits, golden.embedding), rounding))
    check(model, golden, required)
    fold_batchnorm(model)
    check(model, golden, required)
    model = infer_shapes(simplify(model))
    check(model, golden, required)
    finished = convert_opset(ir.to_proto(model), 17)
    fix_batch(finished, 3)
    check(Skeleton(finished, {}), golden, required, as_written=False)


FAULTS = (
    "weight",
    "exponent",
    "bias",
    "pad",
    "norm",
    "epsilon",
    "permuted",
    "layer",
    "mean",
    "classifier",
    "classifier-bias",
    "swapped",
)


def spoil(network: SmallNetwork, fault: str, *, strength: float, seed: int) -> SmallNetwork:
    """Return the network with one fault."""
    rng = np.random.default_rng(seed)
    wrong = copy.deepcopy(network)
    convs, norms = [wrong.stem, *wrong.convs], [wrong.stem_norm, *wrong.norms]
    at = int(rng.integers(len(convs)))
    channel = int(rng.integers(wrong.stem.out_channels))
    if fault == "weight":
        convs[at].weight[channel].mul_(1 + strength)
    elif fault == "bias":
        norms[at].bias[channel] = 0
    elif fault == "pad":
        # All of the padding on one side: the shapes still fit.
        pad: Any = wrong.pads[at]
        pad.padding = (0, 2, 0, 2)
    elif fault == "norm":
        norms[at].running_mean[channel] += strength * norms[at].running_var[channel].sqrt()
    elif fault == "exponent":
        # One bit in the exponent of one weight.
        row, column = rng.integers(convs[at].kernel_size, size=2)
        convs[at].weight[channel, int(rng.integers(convs[at].in_channels)), row, column] *= 2
    elif fault == "epsilon":
        norms[at].eps *= 100
    elif fault == "permuted":
        convs[at].weight.copy_(convs[at].weight.roll(1, dims=1))
    elif fault == "layer":
        # Another layer's weights in place of its own.
        other = wrong.convs[int(rng.integers(len(wrong.convs)))] if len(wrong.convs) else wrong.stem
        source: Any = other if at else wrong.stem
        convs[at].weight.copy_(source.weight)
    elif fault == "mean":
        wrong.pixel_mean = tuple(mean + 1 / 255 for mean in MEAN)
    elif fault == "classifier":
        wrong.fc.weight[:, channel].mul_(1 + strength)
    elif fault == "classifier-bias":
        wrong.fc.bias.zero_()
    else:
        wrong.fc.weight.copy_(wrong.fc.weight.flip(1))
    return wrong


def effects(right: SmallNetwork, wrong: SmallNetwork, pixels: np.ndarray) -> dict[str, float]:
    """Return the SQNR that a fault leaves of every output, by PyTorch in float64."""
    exact, spoiled = (exact_outputs(copy.deepcopy(network), pixels) for network in (right, wrong))
    return {name: decibels(exact[name], spoiled[name]) for name in exact}


@search
@given(recipe=recipes, fault=st.sampled_from(FAULTS), strength=st.sampled_from([1e-2, 0.1, 1.0]))
@example(SMALL, "weight", 1e-2)
@example(ZERO_CLASSIFIER, "weight", 1e-2)
@example(DARK_SINGLE_CLASS, "weight", 1e-2)
@example(TINY, "norm", 1e-2)
@example(HUGE, "classifier", 1e-2)
def test_no_wrong_graph_is_passed_in_float32(recipe: Recipe, fault: str, strength: float) -> None:
    network, pixels = build(recipe)
    golden = golden_of(network, pixels)
    assume(alive(golden))
    wrong = spoil(network, fault, strength=strength, seed=recipe.seed)
    effect = effects(network, wrong, pixels)
    exact = exact_outputs(copy.deepcopy(network), pixels)
    references = named_outputs(golden.logits, golden.embedding)
    rounding = {name: decibels(exact[name], references[name]) for name in references}
    visible = [name for name, found in effect.items() if found <= min(VISIBLE_DB, rounding[name] - BESIDE_ROUNDING_DB)]
    event(f"visible: {bool(visible)}")
    assume(visible)
    with pytest.raises(VerificationError):
        check(float32_graph(wrong, shuffled=1), golden, tolerance_of(network, golden))


def fp16_graph(network: SmallNetwork, golden: Golden, *, like: SmallNetwork, shuffled: int) -> Skeleton:
    """Return a graph's FP16 form with its roundings written out; `like` decides which layers stay FP32."""
    ranges = measure_ranges(ir.to_proto(float32_graph(like, shuffled=shuffled)), golden.pixels)
    model = float32_graph(network, shuffled=shuffled)
    convert_to_fp16(model, ranges)
    return write_roundings(without_weights(infer_shapes(model)))


def pytorch_fp16(network: SmallNetwork, golden: Golden) -> dict[str, np.ndarray]:
    return named_outputs(*run_original(wrap_fp16(network, PREPROCESSING), golden.pixels))


@search
@given(recipe=fp16_recipes)
@example(SMALL)
@example(ZERO_CLASSIFIER)
@example(CONSTANT_ZERO)
@example(DARK_SINGLE_CLASS)
def test_no_right_graph_is_refused_in_fp16(recipe: Recipe) -> None:
    network, pixels = build(recipe)
    golden = golden_of(network, pixels)
    references = named_outputs(golden.logits, golden.embedding)
    fp16 = pytorch_fp16(network, golden)
    assume(all(np.isfinite(array).all() for array in fp16.values()))
    # Where FP16 itself makes another function of the network it is no right graph.
    assume(all(decibels(references[name], fp16[name]) > FLOOR_DB + margin_db(fp16[name].shape[1]) for name in fp16))
    required = dict(fp16_tolerance(references, fp16, fp32=tolerance_of(network, golden)))
    assert all(math.isfinite(found) and found >= FLOOR_DB for found in required.values())
    check(fp16_graph(network, golden, like=network, shuffled=1), golden, required)


@search
@given(recipe=fp16_recipes, fault=st.sampled_from(FAULTS), strength=st.sampled_from([0.1, 1.0]))
@example(SMALL, "weight", 1.0)
@example(ZERO_CLASSIFIER, "weight", 1.0)
def test_no_wrong_graph_is_passed_in_fp16(recipe: Recipe, fault: str, strength: float) -> None:
    network, pixels = build(recipe)
    golden = golden_of(network, pixels)
    fp16 = pytorch_fp16(network, golden)
    assume(alive(golden) and all(np.isfinite(array).all() for array in fp16.values()))
    references = named_outputs(golden.logits, golden.embedding)
    wrong = spoil(network, fault, strength=strength, seed=recipe.seed)
    visible = [
        name
        for name, found in effects(network, wrong, pixels).items()
        if found
        <= min(
            VISIBLE_FP16_DB,
            decibels(references[name], fp16[name]) - BESIDE_FP16_DB - margin_db(fp16[name].shape[1]),
        )
    ]
    assume(visible)
    required = dict(fp16_tolerance(references, fp16, fp32=tolerance_of(network, golden)))
    with pytest.raises(VerificationError):
        check(fp16_graph(wrong, golden, like=network, shuffled=1), golden, required)
