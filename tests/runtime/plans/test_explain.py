"""Why a plan is fast or slow: where its time goes, what to do about it, and why another plan is faster."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runtime.errors import EngineError
from runtime.plans.explain import compare_accounts, findings
from runtime.plans.inspector import read_layer_information, read_layer_times
from runtime.plans.plan_account import PlanAccount, account
from runtime.plans.tables import render_accounts
from tests.helpers.paths import ROOT

FIXTURES = Path(__file__).parent / "layers"
NVIDIA = ROOT.parent / "shared" / "tensorrt-inspector"
nvidia = pytest.mark.skipif(not NVIDIA.is_dir(), reason="NVIDIA's inspector files are not at hand")
ROUNDED_MS = 5e-4


def fixture(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    return data


def accounted(data: dict[str, Any], times: dict[str, float] | None = None, label: str = "plan") -> PlanAccount:
    return account(label, read_layer_information(json.dumps(data)), times)


def nvidias(build: str) -> PlanAccount:
    information = read_layer_information((NVIDIA / f"{build}.graph.json").read_text(encoding="utf-8"))
    return account(build, information, read_layer_times((NVIDIA / f"{build}.profile.json").read_text(encoding="utf-8")))


def counts(one: PlanAccount) -> dict[str, int]:
    return {group.name: group.count for group in one.groups if group.count}


def test_every_layer_with_work_is_in_one_group() -> None:
    # Eight layers work; the reshape is a NoOp.
    assert counts(accounted(fixture("int8_10"))) == {
        "INT8 convolutions": 4,
        "quantise/dequantise": 2,
        "pooling": 1,
        "other": 1,
    }
    assert counts(accounted(fixture("fp16_11"))) == {
        "FP16 convolutions": 3,
        "FP32 convolutions": 1,
        "reformats": 1,
        "pooling": 1,
        "other": 5,
    }


def test_times_are_added_up_per_group_and_unlisted_ones_are_other() -> None:
    times = {"conv1 + act1": 0.5, "layer1.0.conv2 + layer1.0.add": 0.25, "maxpool": 0.125, "{ForeignNode[a...b]}": 1.0}
    one = accounted(fixture("fp16_11"), times)
    assert one.total_ms == 1.875
    found = {group.name: group.ms for group in one.groups}
    assert found["FP16 convolutions"] == 0.75
    assert found["pooling"] == 0.125
    assert found["other"] == 1.0


def test_times_of_another_plan_are_refused() -> None:
    with pytest.raises(EngineError, match="none of 1 timed layers is among the plan's 11"):
        accounted(fixture("fp16_11"), {"conv7": 1.0})


def test_without_times_groups_are_counted_and_nothing_is_invented() -> None:
    one = accounted(fixture("fp16_11"))
    assert one.total_ms is None
    assert {group.ms for group in one.groups} == {None}
    assert any("(not measured)" in sentence for sentence in findings(one))
    assert "without the times" in compare_accounts(one, one)[0]


def test_an_int8_plan_without_detours_has_nothing_to_say_but_its_ends() -> None:
    sentences = findings(accounted(fixture("int8_10")))
    assert len(sentences) == 1
    assert sentences[0].startswith("2 stand-alone quantise or dequantise layers")


def test_the_most_costly_finding_comes_first() -> None:
    data = fixture("int8_10")
    data["Layers"][5]["Inputs"][0]["Format/Datatype"] = "Row major linear FP32"
    cheap_pool = {"global_pool": 0.1, "input.quantize": 0.4, "fc": 0.5}
    assert findings(accounted(data, cheap_pool))[0].startswith("2 stand-alone")
    first = findings(accounted(data, cheap_pool | {"global_pool": 0.9}))[0]
    assert first == (
        "the global average pool reads FP32 (global_pool) and takes 0.90 ms of 1.80 ms (50%): quantise its input"
    )


def test_long_names_are_cut() -> None:
    data = fixture("fp16_11")
    data["Layers"][3]["Name"] = "Reformatting CopyNode for Input Tensor 0 to " + "layer + " * 100
    (sentence, *_) = findings(accounted(data))
    assert "..." in sentence
    assert len(sentence) < 200


@nvidia
def test_times_of_nvidias_plans_add_up_to_their_files() -> None:
    # Added with a pocket calculator's precision from the profile files.
    expected = {"fp32": 2.124, "fp16": 1.017, "qat": 1.096, "qat-residual": 0.731, "qat-residual-qgap": 0.673}
    for build, total in expected.items():
        assert nvidias(build).total_ms == pytest.approx(total, abs=ROUNDED_MS)


@nvidia
def test_qat_is_slower_than_fp16_because_quantise_layers_eat_what_int8_wins() -> None:
    sentences = compare_accounts(nvidias("fp16"), nvidias("qat"))
    assert sentences[0] == "fp16 is 1.08 times as fast as qat by layer times: 1.02 ms against 1.10 ms"
    assert sentences[1].startswith("quantise/dequantise: fp16 gains 0.23 ms (0.00 against 0.23)")
    assert sentences[2].startswith("convolutions: fp16 loses 0.15 ms (0.86 against 0.71)")
    assert sentences[-1] == (
        "so qat's INT8 convolutions win 0.15 ms, and the reformat and quantise layers between them eat 0.19 ms"
    )


@nvidia
def test_qgap_is_faster_than_fp16_and_qat_since_nothing_stands_between_its_convolutions() -> None:
    against_fp16 = compare_accounts(nvidias("fp16"), nvidias("qat-residual-qgap"))
    assert against_fp16[0].startswith("qat-residual-qgap is 1.51 times as fast as fp16")
    assert against_fp16[1].startswith("convolutions: qat-residual-qgap gains 0.29 ms")
    assert any("the max pool runs inside a convolution" in sentence for sentence in against_fp16)
    against_qat = " ".join(compare_accounts(nvidias("qat"), nvidias("qat-residual-qgap")))
    assert against_qat.startswith("qat-residual-qgap is 1.63 times as fast as qat")
    assert "12 of them with floats on one side" in against_qat
    assert "in qat residual Adds are in floats" in against_qat


@nvidia
def test_findings_of_qat_name_the_residual_adds_and_both_pools() -> None:
    text = "\n".join(findings(nvidias("qat")))
    assert text.startswith("11 INT8 convolutions read or write FP16 or FP32 around a residual Add")
    assert "10 stand-alone quantise or dequantise layers take 0.23 ms of 1.10 ms (21%)" in text
    assert "the max pool reads FP32 (MaxPool_12) and takes 0.10 ms" in text
    assert "the global average pool reads FP16 (GlobalAveragePool_246)" in text
    assert "2 reformat layers take 0.05 ms of 1.10 ms (4%)" in text


@nvidia
def test_the_table_has_a_column_per_plan_and_then_the_sentences() -> None:
    out = io.StringIO()
    render_accounts((nvidias("qat"), nvidias("fp16"), nvidias("qat-residual-qgap")), Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert [line.split() for line in lines if line.startswith("quantise/dequantise")] == [
        ["quantise/dequantise", "10", "0.232", "0", "0.000", "1", "0.095"]
    ]
    assert "qat against qat-residual-qgap" in lines
    assert max(len(line) for line in lines) <= 80


def test_the_table_stands_without_times() -> None:
    out = io.StringIO()
    render_accounts((accounted(fixture("int8_10")),), Console(file=out, width=80))
    assert "INT8 convolutions" in out.getvalue()
    assert "0.000" not in out.getvalue()
