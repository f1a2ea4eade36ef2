"""What a benchmark prints: the fastest first, a line for each subject, at most five notes, and all else on request."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from runtime.bench.notes import describe_fastest, list_notes, speeds_against_fp32
from runtime.bench.table import render
from runtime.bundle.results.bench_json import BatchChoice, BenchResult, LayerTime, Limit, Measured
from tests.helpers.bench_results import result, subject

FP16 = "fp16 weights, fp32 execution"
INT8 = "int8 weights, fp32 execution"
# Milliseconds of one call: bundle, engine, precision.
TIMES = {
    ("digits-fp32", "openvino", "fp32"): 20.0,
    ("digits-fp32", "onnxruntime", "fp32"): 24.0,
    ("digits-fp16", "openvino", FP16): 20.0,
    ("digits-fp16", "onnxruntime", FP16): 24.0,
    ("digits-int8", "openvino", "int8"): 5.0,
    ("digits-int8", "onnxruntime", INT8): 48.0,
    ("digits-int8-cpu", "openvino", "int8"): 8.0,
    ("digits-int8-cpu", "onnxruntime", "int8"): 6.0,
}
ROUNDS, CALLS = 10, 20
NOISY = ("Other processes took 62.8% of the cores' time: stop them.", "The machine drifted.")


def timed(bundle: str, engine: str, precision: str, ms: float, *, batch: int = 1, **options: Any) -> Measured:
    """Return a subject whose calls scatter by some percent, each subject in its own way."""
    rng = np.random.default_rng([len(bundle), len(engine), batch])
    times = batch**0.9 * ms * rng.uniform(0.97, 1.03, (ROUNDS, CALLS))
    return subject(
        f"{bundle} {engine} batch {batch}", times, batch=batch, engine=engine, precision=precision, **options
    )


def limit(name: str) -> Limit:
    layer = LayerTime(name="conv1", operator="Conv", macs=1, moved_bytes=1, precision="fp32", ms=1.0, bound_ms=0.3)
    findings = (f"conv1 of {name} is memory-bound",)
    return Limit(
        name=name, gmacs_per_s=39.0, gb_per_s=6.0, bound_ms=6.24, share=0.28, layers=(layer,), findings=findings
    )


def four(*, batches: tuple[int, ...] = (1,), warnings: tuple[str, ...] = (), **changes: Any) -> BenchResult:
    """Return a result of four bundles in two engines."""
    measured = [timed(*what, ms, batch=batch) for what, ms in TIMES.items() for batch in batches]
    made = result(*measured)
    limits = tuple(limit(one.name) for one in measured)
    noise = made.noise.model_copy(update={"warnings": warnings})
    return made.model_copy(update={"limits": limits, "noise": noise, **changes})


def printed(of: BenchResult, *, width: int = 80, details: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    render(of, console, details=details)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    return text


def rows(text: str, count: int) -> list[list[str]]:
    """Return the words of the lines below the first table's rule."""
    lines = text.splitlines()
    ruled = next(i for i, line in enumerate(lines) if line.startswith("─"))
    assert lines[ruled + count + 1] == ""
    return [line.split() for line in lines[ruled + 1 : ruled + count + 1]]


@pytest.mark.parametrize("batches", [(1,), (1, 8)])
def test_four_bundles_fit_80_columns_and_a_screen_with_one_line_for_each_row(batches: tuple[int, ...]) -> None:
    text = printed(four(batches=batches, warnings=NOISY))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    found = rows(text, 8 * len(batches))
    assert [row[:2] for row in found[:: 2 * len(batches)]] == [
        ["openvino", name] for name in ("fp32", "fp16", "int8", "int8-cpu")
    ]


def test_speed_against_fp32_of_the_same_engine_and_share_of_the_limit_are_columns() -> None:
    found = rows(printed(four()), 8)
    assert [row[-1] for row in found] == ["28%"] * 8
    speeds = [row[-2] for row in found]
    assert speeds[0] == speeds[1] == "1.00"
    # 20 / 5, 24 / 48, 20 / 8 and 24 / 6 by the times above; they scatter by at most 3 %, their medians by less.
    for speed, expected in zip(speeds[4:], (4.0, 0.5, 2.5, 4.0), strict=True):
        assert float(speed) == pytest.approx(expected, rel=0.03)


def test_a_speed_that_is_not_shown_to_differ_is_marked_and_the_mark_is_explained() -> None:
    same = rows(printed(four()), 8)[2]
    assert same[:2] == ["openvino", "fp16"]
    assert same[-2].startswith("~")
    assert any("no difference from FP32 is shown" in note for note in list_notes(four(), speeds_against_fp32(four())))


def test_bf16_is_compared_with_fp32_of_the_same_engine_and_a_peer_with_nothing() -> None:
    fp32, bf16 = timed("net", "openvino", "fp32", 20.0), timed("net", "openvino:bf16", "bf16", 5.0)
    peer = timed("net", "raw-openvino", "fp32", 20.0).model_copy(update={"kind": "peer"})
    speeds = speeds_against_fp32(result(fp32, bf16, peer))
    assert set(speeds) == {fp32.name, bf16.name}
    assert speeds[bf16.name].ratio == pytest.approx(4.0, rel=0.03)
    low, high = speeds[bf16.name].ratio_ci95.low, speeds[bf16.name].ratio_ci95.high
    assert low < speeds[bf16.name].ratio < high


def test_the_fastest_comes_first_with_its_speed_and_whether_the_machine_was_noisy() -> None:
    noisy = " ".join(printed(four(batches=(1, 8), warnings=NOISY)).split())
    assert noisy.startswith("Fastest: digits-int8 openvino batch 1, ")
    assert " times FP32's speed there (" in noisy
    # At batch 8 one image takes 8 ** -0.1 of its time: more images each second.
    assert "; most images: digits-int8 openvino batch 8, " in noisy
    assert "The machine was noisy: trust ratios, not milliseconds." in noisy
    assert "noisy" not in describe_fastest(four(), {})


def test_at_most_five_notes_remain_and_the_last_holds_what_was_left() -> None:
    peers = tuple(
        timed("net", f"peer{number}", "fp32", 20.0).model_copy(update={"kind": "peer", "notes": (f"note {number}",)})
        for number in range(6)
    )
    made = four(warnings=NOISY, absent={"trtexec": "it is not on PATH", "benchmark_app": "it is not on PATH"})
    crowded = made.model_copy(update={"measured": (*made.measured, *peers)})
    notes = list_notes(crowded, speeds_against_fp32(crowded))
    assert len(notes) == 5
    told = " ".join(notes)
    for words in (*NOISY, "trtexec was not measured: it is not on PATH", *(f"note {number}" for number in range(6))):
        assert words in told
    assert notes[0].startswith("noise: ")
    assert sum(line.startswith("- ") for line in printed(crowded).splitlines()) == 5


def test_a_note_that_subjects_share_is_told_once_with_their_names() -> None:
    shared = tuple(timed(*what, ms).model_copy(update={"notes": ("host inside",)}) for what, ms in TIMES.items())
    (note,) = (note for note in list_notes(result(*shared), {}) if "host inside" in note)
    assert note.startswith(
        "digits-fp32 openvino batch 1, digits-fp32 onnxruntime batch 1, digits-fp16 openvino batch 1"
    )
    assert note.endswith("and 5 more: host inside.")


def test_int8_that_is_slower_than_fp32_is_named() -> None:
    notes = list_notes(four(), speeds_against_fp32(four()))
    assert any(
        note.startswith("Slower than FP32 in the same engine: digits-int8 onnxruntime batch 1;") for note in notes
    )


def test_of_the_choices_for_a_budget_the_best_is_a_note_and_all_are_details() -> None:
    choices = tuple(
        BatchChoice(
            budget_ms=20.0,
            bundle="net",
            engine="openvino",
            precision="int8",
            batch=8,
            images_per_s=speed,
            text=f"choice of {speed:g}",
        )
        for speed in (100.0, 300.0, 200.0)
    )
    made = four(choices=choices)
    assert any(note.startswith("choice of 300 (best of 3") for note in list_notes(made, {}))
    assert "choice of 100" not in printed(made)
    assert all(choice.text in printed(made, details=True) for choice in choices)


def test_what_is_the_same_for_all_stands_above_the_table() -> None:
    text = " ".join(printed(four()).split())
    assert "timed: the engine's call alone, input and output in place; batch 1; 200 calls of each." in text


def test_details_have_every_figure_and_every_finding() -> None:
    made = four(commands={"digits-fp32 openvino batch 1": ("benchmark_app -m model.onnx",)})
    text, short = printed(made, width=100, details=True), printed(made, width=100)
    for heading in ("p90", "p95", "p99", "max", "load", "first", "MB", "runs"):
        assert heading in text
    for words in ("28% of the machine's limit", "is memory-bound", "the same as digits-fp32 openvino batch 1: bench"):
        assert words in text
        assert words not in short
    assert "`--details` has" in short
