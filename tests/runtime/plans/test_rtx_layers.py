"""Certificate, crossings and explanation of plans that TensorRT for RTX built of our bundles."""

import pytest

from runtime.bundle.plan_json import Certificate
from runtime.plans.certify import certify
from runtime.plans.crossings import convolutions
from runtime.plans.explain import findings
from runtime.plans.inspector import LayerInformation, compute_type, is_convolution, read_layer_information
from runtime.plans.layer_log import layer_information
from runtime.plans.plan_account import account
from tests.helpers import rtx_layers

# Convolutions of the architectures: He et al. 2015, with the downsampling ones; beside them one classifier.
CONVOLUTIONS = {"digits": 20, "ssl_resnet50": 53, "ssl_resnext50_32x4d": 53}
EVERY = pytest.mark.parametrize("name", rtx_layers.NAMES)
INT8 = pytest.mark.parametrize("name", [name for name in rtx_layers.NAMES if "-int8" in name])


def layers_of(name: str) -> LayerInformation:
    return read_layer_information(layer_information([rtx_layers.read(name).log]))


def certificate_of(name: str) -> Certificate:
    return certify(layers_of(name), rtx_layers.read(name).layers)


def precision(name: str) -> str:
    return name.partition("-")[2]


def count(name: str) -> int:
    return CONVOLUTIONS[name.partition("-")[0]]


def test_there_is_a_plan_of_every_kind() -> None:
    kinds = {(name.partition("-")[0], precision(name)) for name in rtx_layers.NAMES}
    assert kinds >= {("digits", one) for one in ("fp32", "fp16", "int8", "int8-fp16")}
    assert kinds >= {(name, one) for name in rtx_layers.LARGER for one in ("fp16", "int8", "int8-fp16")}


@EVERY
def test_every_promise_is_found_kept_whatever_kernel_keeps_it(name: str) -> None:
    certificate = certificate_of(name)
    promised = {"fp32": 0, "fp16": count(name) + 1, "int8": count(name), "int8-fp16": count(name) + 1}
    assert (certificate.kept, certificate.promised) == (promised[precision(name)],) * 2
    assert certificate.formats_known
    assert all(verdict.ran != "unknown" for verdict in certificate.verdicts)


@EVERY
def test_every_convolution_and_the_classifier_is_one_kernel(name: str) -> None:
    verdicts = certificate_of(name).verdicts
    assert len(verdicts) == count(name) + 1
    assert len({verdict.engine_layer for verdict in verdicts}) == count(name) + 1
    assert len(convolutions(layers_of(name))) == count(name) + 1


@EVERY
def test_kernels_compiled_at_load_count_as_the_products_in_them(name: str) -> None:
    groups = {group.name: group.count for group in account(name, layers_of(name), None).groups}
    inside = {"fp32": "FP32", "fp16": "FP16", "int8": "INT8", "int8-fp16": "INT8"}[precision(name)]
    classifier = "FP16" if name.endswith("fp16") else "FP32"
    expected = {f"{inside} convolutions": count(name)}
    expected[f"{classifier} convolutions"] = expected.get(f"{classifier} convolutions", 0) + 1
    assert {kind: number for kind, number in groups.items() if "convolutions" in kind and number} == expected
    assert groups["pooling"] == 1
    assert groups["reformats"] == groups["quantise/dequantise"] == 0


@INT8
def test_every_int8_convolution_with_a_scale_per_channel_writes_fp32(name: str) -> None:
    information = layers_of(name)
    inside = [layer for layer in information.layers if is_convolution(layer) and compute_type(layer) == "int8"]
    assert len(inside) == count(name)
    assert {tensor.datatype for layer in inside for tensor in layer.outputs} == {"fp32"}
    assert set(certificate_of(name).crossings) == {layer.name for layer in inside}


@pytest.mark.parametrize("name", [name for name in rtx_layers.NAMES if precision(name) == "fp16"])
def test_nothing_stands_between_the_layers_in_fp16(name: str) -> None:
    certificate = certificate_of(name)
    assert not certificate.crossings
    assert not certificate.fp32_islands
    assert findings(account(name, layers_of(name), None)) == (
        "nothing stands between the layers: no reformat, no stand-alone Q or DQ, no layer left in FP32",
    )


@INT8
def test_the_kernels_behind_int8_convolutions_are_told_to_compute_in_fp32(name: str) -> None:
    islands = certificate_of(name).fp32_islands
    # Each requantises what one or two convolutions wrote in FP32.
    assert len(islands) >= count(name) * 2 / 3
    assert all(island.endswith("(kgen)") for island in islands)
