"""What a plan made of a bundle's promises: kept, broken, unknown, and what stands between the layers."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runtime.bundle.layers import Layer
from runtime.bundle.plan_json import Certificate
from runtime.errors import BundleError, UsageError
from runtime.plans.certify import certify, explain_failure
from runtime.plans.inspector import read_layer_information
from runtime.plans.tables import render
from tests.helpers.paths import ROOT

FIXTURES = Path(__file__).parent / "layers"
NVIDIA = ROOT.parent / "shared" / "tensorrt-inspector"
nvidia = pytest.mark.skipif(not NVIDIA.is_dir(), reason="NVIDIA's inspector files are not at hand")
PRODUCTS = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "fc")


def layer(name: str, precision: str = "int8", *, operator: str = "", macs: int = 100) -> Layer:
    return Layer.model_validate(
        {
            "name": name,
            "operator": operator or ("Gemm" if name == "fc" else "Conv"),
            "output": f"{name}_output",
            "output_shape": (1,),
            "parameters": 0,
            "macs": macs,
            "weight_bytes": 0,
            "activation_bytes": 0,
            "precision": precision,
        }
    )


def bundle(precision: str = "int8") -> tuple[Layer, ...]:
    others = (layer("layer1.0.add", "fp32", operator="Add", macs=0), layer("a.quantize", operator="QuantizeLinear"))
    return (*(layer(name, precision) for name in PRODUCTS), *others)


def fixture(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    return data


def certified(data: dict[str, Any], layers: tuple[Layer, ...], **options: Any) -> Certificate:
    return certify(read_layer_information(json.dumps(data)), layers, **options)


def changed(find: str, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the INT8 fixture with a change to the layer whose name starts with `find`."""
    data = fixture("int8_10")
    for one in data["Layers"]:
        if one["Name"].startswith(find):
            change(one)
            return data
    raise KeyError(find)


def verdict(certificate: Certificate, name: str) -> tuple[str, str]:
    found = {one.name: one for one in certificate.verdicts}[name]
    return found.ran, found.reason


def set_formats(text: str, *, key: str = "Inputs", index: int = 0) -> Callable[[dict[str, Any]], None]:
    def change(one: dict[str, Any]) -> None:
        one[key][index]["Format/Datatype"] = text

    return change


def test_a_plan_that_keeps_every_promise_passes() -> None:
    certificate = certified(fixture("int8_10"), bundle())
    assert (certificate.kept, certificate.promised, certificate.share, certificate.macs_share) == (4, 4, 1.0, 1.0)
    assert certificate.passed
    assert [one.name for one in certificate.verdicts] == list(PRODUCTS)
    assert {one.reason for one in certificate.verdicts} == {""}
    assert certificate.reformats == ()
    assert certificate.unfused_qdq == ("input.quantize", "embedding.dequantize")
    assert certificate.fp32_islands == ()
    assert certificate.crossings == ()


def test_a_dynamic_batch_without_formats_is_judged_by_weights_and_kernels() -> None:
    certificate = certified(fixture("int8_10_dynamic"), bundle())
    assert certificate.passed
    assert not certificate.formats_known


def test_version_11_shows_the_convolution_that_was_left_in_fp32() -> None:
    certificate = certified(fixture("fp16_11"), bundle("fp16"))
    assert (certificate.kept, certificate.promised) == (3, 4)
    assert not certificate.passed
    assert verdict(certificate, "layer1.0.conv1") == ("fp32", "its CaskConvolution layer reads fp32")
    assert verdict(certificate, "fc") == ("fp16", "")
    # Neither the casts before the first convolution nor those to the outputs; the cast back after it is one.
    assert certificate.fp32_islands == (
        "layer1.0.conv1 + layer1.0.act1 (CaskConvolution)",
        "__myl_Cast_myl1_0 (kgen)",
    )
    assert certificate.reformats == ("Reformatting CopyNode for Input Tensor 0 to layer1.0.conv1 + layer1.0.act1",)


def test_share_and_macs_share_count_only_promises() -> None:
    layers = (
        layer("conv1", "fp16", macs=30),
        layer("layer1.0.conv1", "fp16", macs=60),
        layer("layer1.0.conv2", "fp16", macs=10),
        layer("fc", "fp32", macs=1000),
    )
    certificate = certified(fixture("fp16_11"), layers, required_share=2 / 3)
    assert (certificate.kept, certificate.promised) == (2, 3)
    assert certificate.macs_share == pytest.approx(0.4)
    assert certificate.passed
    # fc ran in FP16 though FP32 was promised: listed, not counted.
    assert verdict(certificate, "fc")[0] == "fp16"


def test_nothing_promised_is_nothing_broken() -> None:
    certificate = certified(fixture("fp16_11"), bundle("fp32"))
    assert (certificate.promised, certificate.share, certificate.macs_share) == (0, 1.0, 1.0)
    assert certificate.passed
    assert certificate.fp32_islands == ()


def test_an_unknown_layer_type_is_never_a_pass() -> None:
    certificate = certified(changed("layer1.0.conv1", lambda one: one.update(LayerType="Zebra")), bundle())
    ran, reason = verdict(certificate, "layer1.0.conv1")
    assert ran == "unknown"
    assert reason.startswith("layer type Zebra is not known to this version: ")
    assert not certificate.passed


def test_a_node_that_no_layer_names_is_never_a_pass() -> None:
    certificate = certified(changed("fc", lambda one: one.update(Name="x", Metadata="")), bundle())
    assert verdict(certificate, "fc") == ("unknown", "no layer of the engine names it")
    assert not certificate.passed


def test_a_layer_that_computes_no_products_is_never_a_pass() -> None:
    certificate = certified(changed("fc", lambda one: one.update(LayerType="PointWiseV2")), bundle())
    assert verdict(certificate, "fc") == ("unknown", "only a PointWiseV2 layer names it, which computes no products")


def test_weights_dequantisation_does_not_stand_for_the_convolution() -> None:
    data = changed("fc", lambda one: one.update(Name="fc.weight.dequantize", Metadata="[ONNX Layer: fc.weight]"))
    assert verdict(certified(data, bundle()), "fc")[0] == "unknown"


def test_a_pointwise_kernel_that_names_the_node_too_does_not_hide_the_convolution() -> None:
    data = fixture("int8_10")
    shares = {"Name": "tail", "LayerType": "kgen", "Inputs": [], "Outputs": [], "Metadata": "[ONNX Layer: conv1]"}
    data["Layers"].insert(0, shares)
    assert verdict(certified(data, bundle()), "conv1") == ("int8", "")


def test_of_two_convolutions_for_one_node_the_worse_one_counts() -> None:
    data = fixture("int8_10")
    half = json.loads(json.dumps(data["Layers"][3]))
    half["Name"] = "layer1.0.conv1 (second half)"
    set_formats("Half")(half)
    data["Layers"].insert(4, half)
    half["Weights"]["Type"] = "Half"
    assert verdict(certified(data, bundle()), "layer1.0.conv1")[0] == "fp16"


def test_an_int8_convolution_that_runs_in_fp16_names_its_unfused_qdq() -> None:
    def widen(one: dict[str, Any]) -> None:
        set_formats("Half")(one)
        one["Weights"]["Type"] = "Half"

    certificate = certified(changed("layer1.0.conv1", widen), bundle())
    reason = "its Q/DQ did not fuse into it: its CaskConvolution layer reads fp16"
    assert verdict(certificate, "layer1.0.conv1") == ("fp16", reason)


def test_a_float_residual_is_a_crossing_and_keeps_the_promise() -> None:
    data = changed("layer1.0.conv2", set_formats("Row major linear FP32", index=1))
    certificate = certified(data, bundle())
    assert certificate.passed
    assert certificate.crossings == ("layer1.0.conv2 + layer1.0.add + layer1.0.act2",)


def test_a_pool_in_fp32_between_int8_layers_is_an_island() -> None:
    certificate = certified(changed("global_pool", set_formats("Row major linear FP32")), bundle())
    assert certificate.fp32_islands == ("global_pool (CudaPooling)",)


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(UsageError, match=r"share 95 .* expected 0 to 1"):
        certified(fixture("int8_10"), bundle(), required_share=95)


def test_a_promise_that_no_convolution_can_keep_is_refused() -> None:
    with pytest.raises(BundleError, match="conv1 precision int64"):
        certified(fixture("int8_10"), (layer("conv1", "int64"),))


def test_the_certificate_survives_its_json() -> None:
    certificate = certified(fixture("fp16_11"), bundle("fp16"), times={"conv1 + act1": 0.25})
    assert Certificate.model_validate_json(certificate.model_dump_json()) == certificate
    assert certificate.layer_times_ms == {"conv1 + act1": 0.25}


def test_the_builds_error_says_how_many_which_and_what_to_do() -> None:
    data = fixture("int8_10")
    data["Layers"] = [one for one in data["Layers"] if one["LayerType"] in ("NoOp", "Reformat")]
    message = explain_failure(certified(data, bundle(), required_share=0.9))
    assert message.startswith("0 of 4 layers (0.0%) run in the precision that the bundle promises, expected 90.0%: ")
    assert "conv1 was promised int8 (no layer of the engine names it)" in message
    assert "and 1 more" in message
    assert "`--min-share`" in message
    assert "`--min-share`" in message
    assert "\n" not in message


def test_the_report_lists_only_layers_that_broke_their_promise() -> None:
    out = io.StringIO()
    render(certified(fixture("fp16_11"), bundle("fp16")), Console(file=out, width=80))
    text = " ".join(out.getvalue().split())
    assert "promised INT8 or FP16 4" in text
    assert "75.0%, 75.0% of MACs; 100.0% required: FAIL" in text
    assert "- layer1.0.conv1: promised fp16, ran in fp32: its CaskConvolution layer reads fp32" in text
    assert "- conv1" not in text


def test_the_report_says_where_formats_are_not_named() -> None:
    out = io.StringIO()
    render(certified(fixture("int8_10_dynamic"), bundle()), Console(file=out, width=80), explain=False)
    assert "formats are not named" in out.getvalue()


def real_bundle(data: dict[str, Any], precision: str) -> tuple[Layer, ...]:
    """Return a promise for every `Conv_n` and `Gemm_n` in the names of a real file."""
    nodes = [node for one in data["Layers"] for node in one["Name"].split(" + ") if "CopyNode" not in one["Name"]]
    return tuple(layer(node, precision) for node in nodes if node.startswith(("Conv_", "Gemm_")))


@nvidia
@pytest.mark.parametrize(
    ("build", "precision", "qdq", "crossings", "islands"),
    # Counted by eye in the files.
    [
        ("fp32", "fp32", 0, 0, ()),
        ("fp16", "fp16", 0, 0, ()),
        ("qat", "int8", 10, 12, ("MaxPool_12 (TiledPooling)",)),
        ("qat-residual", "int8", 3, 1, ("GlobalAveragePool_294 (CaskPooling)",)),
        ("qat-residual-qgap", "int8", 1, 0, ()),
    ],
)
def test_nvidias_resnet18_keeps_its_promises(
    build: str, precision: str, qdq: int, crossings: int, islands: tuple[str, ...]
) -> None:
    data = json.loads((NVIDIA / f"{build}.graph.json").read_text(encoding="utf-8"))
    layers = real_bundle(data, precision)
    certificate = certified(data, layers)
    assert len(layers) == len(certificate.verdicts) == 21
    assert {(one.ran, one.reason) for one in certificate.verdicts} == {(precision, "")}
    assert len(certificate.unfused_qdq) == qdq
    assert len(certificate.crossings) == crossings
    assert certificate.fp32_islands == islands
