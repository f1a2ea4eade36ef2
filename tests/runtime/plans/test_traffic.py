"""Kernels and bytes for an image, of plans that TensorRT for RTX built."""

import io
import math
import re

import pytest
from rich.console import Console

from runtime.plans.explain import compare_accounts, findings
from runtime.plans.inspector import read_layer_information
from runtime.plans.layer_log import layer_information
from runtime.plans.plan_account import PlanAccount, account
from runtime.plans.tables import render_accounts
from tests.helpers import rtx_layers


def accounted(name: str) -> PlanAccount:
    return account(name, read_layer_information(layer_information([rtx_layers.read(name).log])), None)


def test_bytes_are_those_of_the_shapes_and_datatypes() -> None:
    counts = accounted("ssl_resnet50-int8").traffic
    assert counts is not None
    stem = next(layer for layer in counts.layers if layer.name == "conv1_myl0_3")
    # Read: RGB and one channel of padding that the plan makes a tensor of, INT8. Written: 64 channels of FP32.
    assert (stem.read_bytes, stem.written_bytes) == (4 * 224 * 224, 64 * 112 * 112 * 4)


_SIZES = {"Float": 4, "Half": 2, "Int8": 1, "UInt8": 1, "Int32": 4, "Int64": 8, "Bool": 1}
_TENSOR = re.compile(r"Dimensions: \[([-\d,]*)\][^}]*?Datatype: (\w+)")
_LAYER = re.compile(r"LayerType: (\w+), Inputs: \[(.*?)\], Constants: \[.*?\], Outputs: \[(.*?)\], TacticName")


def megabytes_of_the_log(name: str) -> float:
    """Return what the kernels of a logged plan move for one image, from the text of the log alone."""
    total = 0
    for kind, read, written in _LAYER.findall(rtx_layers.read(name).log):
        if kind in ("shape_call", "signal", "wait"):
            continue
        for sizes, datatype in _TENSOR.findall(read) + _TENSOR.findall(written):
            total += math.prod(abs(int(size)) for size in sizes.split(",")) * _SIZES[datatype]
    return total / 1e6


@pytest.mark.parametrize("name", rtx_layers.NAMES)
def test_bytes_of_a_plan_are_those_of_the_tensors_in_the_log(name: str) -> None:
    counts = accounted(name).traffic
    assert counts is not None
    assert counts.moved_bytes / 1e6 == pytest.approx(megabytes_of_the_log(name), rel=1e-9)


def test_kernels_behind_int8_convolutions_are_named_and_counted() -> None:
    # 53 convolutions; each of the 4 of downsampling shares one kernel with conv3 of its block.
    sentence = findings(accounted("ssl_resnet50-int8"))[-1]
    assert sentence.startswith("49 kernels only rescale or round what INT8 convolutions wrote as floats (__myl_MulAddR")
    assert "a scale for each channel of a weight is not fused" in sentence
    fp16 = accounted("ssl_resnet50-fp16").traffic
    assert fp16 is not None
    assert not fp16.rescaling


def test_what_the_library_rescales_by_itself_is_not_called_a_want_of_qdq() -> None:
    # Its INT8 convolutions have Q/DQ on both sides, as the bundle's graph has.
    assert not [sentence for sentence in findings(accounted("ssl_resnet50-int8")) if "put Q/DQ" in sentence]


def test_bytes_of_the_sorts_of_layers_add_up_to_the_plans() -> None:
    for name in rtx_layers.NAMES:
        plan = accounted(name)
        assert plan.traffic is not None
        assert sum(group.moved_bytes or 0.0 for group in plan.groups) == pytest.approx(plan.traffic.moved_bytes)


def test_the_table_shows_megabytes_where_they_can_be_counted() -> None:
    shown = io.StringIO()
    render_accounts((accounted("ssl_resnet50-fp16"),), Console(file=shown, width=100))
    last = next(line for line in shown.getvalue().splitlines() if line.startswith("all"))
    assert last.split() == ["all", "58", "-", f"{megabytes_of_the_log('ssl_resnet50-fp16'):.1f}"]


def test_an_int8_plan_that_moves_more_than_fp16_is_told_with_figures_in_either_order() -> None:
    int8, fp16 = accounted("ssl_resnet50-int8"), accounted("ssl_resnet50-fp16")
    for first, second in ((int8, fp16), (fp16, int8)):
        sentence = compare_accounts(first, second)[-1]
        assert "114.8 MB in 106 kernels of ssl_resnet50-int8" in sentence
        assert "57.9 MB in 58 kernels of ssl_resnet50-fp16" in sentence
        assert sentence.endswith(
            "ssl_resnet50-int8 is INT8 and moves 1.98 times the bytes: measure it before you use it"
        )


def test_two_fp16_plans_bring_no_warning() -> None:
    assert "measure it" not in compare_accounts(accounted("digits-fp16"), accounted("ssl_resnet50-fp16"))[-1]
