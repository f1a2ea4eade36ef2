import io
import re
from typing import Any

import pytest
from rich.console import Console

from runtime.bundle.manifest import Licence, Weights
from runtime.bundle.results.compare_json import (
    CardAccuracy,
    Comparison,
    DataReport,
    EngineScore,
    FlopsReport,
    OriginalScore,
    ParametersReport,
)
from runtime.compare.decide import decide
from runtime.compare.explain import explain, explain_briefly
from runtime.compare.table import render

# Plausible figures that are only printed here; how they are computed is tested elsewhere.
ENGINE = EngineScore(
    engine="onnxruntime",
    precision="fp16",
    top1=0.72586,
    top5=0.9141,
    drop=0.00034,
    drop_ci95=(0.000015, 0.000683),
    mcnemar_p=0.0533,
    agreement=0.9987,
    sqnr_db=67.24,
    identical=False,
    images_per_s=1234.4,
    only_original_right=43,
    only_engine_right=26,
    non_finite_logits=0,
    non_finite_images=0,
)
ORIGINAL = OriginalScore(
    engine="pytorch",
    precision="fp32",
    top1=0.7262,
    top5=0.9142,
    top5_k=5,
    images=50_000,
    images_per_s=50.2,
    non_finite_logits=0,
    non_finite_images=0,
)
COMPARISON = Comparison(
    bundles=("ssl_resnet18-fp16",),
    model="ssl_resnet18",
    weights=Weights(source="hub", name="resnet18.fb_ssl_yfcc100m_ft_in1k", file_sha256=None, tensors_sha256="0" * 64),
    licence=Licence(spdx="CC-BY-NC-4.0", notice="Non-commercial use only.", url="https://creativecommons.org"),
    data=DataReport(source="imagenet/val", images=50_000, seconds=400, images_per_s=125),
    original=ORIGINAL,
    engines=(ENGINE,),
    parameters=ParametersReport(pytorch=11_689_512, onnx=11_684_712),
    flops=FlopsReport(
        pytorch_macs=1_814_073_344, onnx_macs=1_814_073_344, card=2_337_073_152, card_recomputed=2_337_073_152
    ),
    card=CardAccuracy(top1=0.7262, top5=0.9142),
)


def with_engine(**changes: Any) -> Comparison:
    return COMPARISON.model_copy(update={"engines": (ENGINE.model_copy(update=changes),)})


def printed(comparison: Comparison = COMPARISON, *, width: int = 120, details: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width)
    render(comparison, console, details=details)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def sentence_with(words: str, comparison: Comparison) -> str:
    found = [sentence for sentence in explain(comparison) if words in sentence]
    assert len(found) == 1, explain(comparison)
    return found[0]


def test_accuracies_are_printed_as_percentages_and_drops_as_points() -> None:
    row = next(line for line in printed().splitlines() if line.startswith("onnxruntime"))
    assert row.split() == [
        "onnxruntime", "fp16", "72.59", "91.41", "0.03", "0.00", "to", "0.07", "0.053", "99.87", "67.2", "1,234",
    ]  # fmt: skip


def test_the_original_comes_first() -> None:
    lines = printed().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("pytorch"))
    assert lines[first].split() == ["pytorch", "fp32", "72.62", "91.42", "50"]
    assert lines[first + 1].startswith("onnxruntime")


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_or_overflows_at_usual_widths(width: int) -> None:
    wide = with_engine(
        precision="fp16 weights, fp32 execution",
        drop=-0.1234,
        drop_ci95=(-0.1234, -0.1005),
        mcnemar_p=1e-9,
        agreement=1.0,
        sqnr_db=128.1,
        images_per_s=12_345.0,
    )
    text = printed(wide, width=width, details=True)
    assert max(len(line) for line in text.splitlines()) <= width
    for cell in ("fp32, not fp16", "-12.34", "-12.34 to -10.05", "< 0.001", "100.00", "128.1", "12,345"):
        assert cell in text
    assert "…" not in text


def test_a_pipe_gets_no_escape_codes() -> None:
    assert "\x1b" not in printed(with_engine(non_finite_logits=1, non_finite_images=1, sqnr_db=None))


def test_names_in_brackets_are_not_taken_for_markup() -> None:
    assert "imagenet[red]" in printed(
        COMPARISON.model_copy(update={"data": COMPARISON.data.model_copy(update={"source": "imagenet[red]"})})
    )
    assert "fp16[bold]" in printed(with_engine(precision="fp16[bold]"))


def test_a_drop_that_rounds_to_zero_has_no_minus_sign() -> None:
    assert "-0.00" not in printed(with_engine(drop=-0.000001, drop_ci95=(-0.00001, 0.00001)))


def test_counts_stand_side_by_side_with_the_cards() -> None:
    rows = {line.split("  ")[0]: re.findall(r"[\d,]{9,}", line) for line in printed(details=True).splitlines()}
    assert rows["parameters"] == ["11,689,512", "11,684,712"]
    assert rows["MACs, convolutions and classifier"] == ["1,814,073,344", "1,814,073,344"]
    # 2 x 1814073344, by hand.
    assert rows["FLOPs = 2 x MACs"] == ["3,628,146,688", "3,628,146,688"]
    assert rows["FLOPs by the card's rule"] == ["2,337,073,152", "2,337,073,152"]


def test_without_a_card_nothing_is_said_about_one() -> None:
    flops = COMPARISON.flops.model_copy(update={"card": None, "card_recomputed": None})
    without = COMPARISON.model_copy(update={"card": None, "flops": flops})
    assert "card's" not in printed(without, details=True)
    assert "card" not in printed(without)


def test_the_licence_is_the_last_line() -> None:
    for details in (False, True):
        last = printed(details=details).splitlines()[-1]
        assert last == "Licence of the weights: CC-BY-NC-4.0. Non-commercial use only. https://creativecommons.org"


def test_skipped_images_are_counted_and_the_first_three_named() -> None:
    data = COMPARISON.data.model_copy(update={"unreadable": ("a.png", "b.png", "c.png", "d.png")})
    assert "4 unreadable and skipped: a.png, b.png, c.png and 1 more" in " ".join(
        printed(COMPARISON.model_copy(update={"data": data})).split()
    )


def test_an_engine_with_nan_is_a_named_failure_and_not_only_a_low_accuracy() -> None:
    broken = with_engine(sqnr_db=None, non_finite_logits=4000, non_finite_images=4)
    assert explain(broken)[0].startswith("FAILED: onnxruntime (fp16): 4,000 logits in 4 images are NaN or infinite")
    assert "FAIL" in next(line for line in printed(broken).splitlines() if line.startswith("onnxruntime"))


def test_an_original_with_nan_voids_every_difference() -> None:
    original = ORIGINAL.model_copy(update={"non_finite_logits": 1, "non_finite_images": 1})
    void = COMPARISON.model_copy(update={"original": original})
    assert explain(void)[0].startswith("FAILED: pytorch (fp32): 1 logits in 1 image are NaN")
    assert printed(void).startswith("FAILED: pytorch (fp32): 1 logits in 1 image are NaN")
    assert decide(void).startswith("Take none of these")


def test_a_drop_whose_interval_excludes_zero_is_called_real() -> None:
    real = with_engine(drop=0.0028, drop_ci95=(0.002, 0.0036), mcnemar_p=1e-11)
    assert "the drop of 0.28 pp" in sentence_with("is not noise", real)


def test_a_gain_is_not_called_a_drop() -> None:
    better = with_engine(drop=-0.0028, drop_ci95=(-0.0036, -0.002), mcnemar_p=1e-11)
    assert "the gain of 0.28 pp" in sentence_with("is not noise", better)


def test_a_drop_whose_interval_includes_zero_is_called_noise() -> None:
    noise = with_engine(drop_ci95=(-0.0002, 0.0005), mcnemar_p=0.4)
    assert "within the noise of 50,000 images" in sentence_with("the drop of", noise)


def test_a_drop_on_which_interval_and_p_disagree_is_called_borderline() -> None:
    assert "borderline" in sentence_with("43 hits lost, 26 gained, McNemar's p 0.053", COMPARISON)


def test_engines_that_change_no_hit_share_one_sentence_that_gives_the_resolution() -> None:
    # z^2 / (n + z^2) of 50,000 images is 0.0077 %.
    same = ENGINE.model_copy(
        update={"only_original_right": 0, "only_engine_right": 0, "drop": 0.0, "drop_ci95": (-0.000077, 0.000077)}
    )
    both = COMPARISON.model_copy(update={"engines": (same, same.model_copy(update={"engine": "openvino"}))})
    shared = sentence_with("same images as the original", both)
    assert shared.startswith("onnxruntime (fp16), openvino (fp16):")
    assert "below 0.01 pp" in shared


@pytest.mark.parametrize(
    ("precision", "sqnr_db", "low"),
    [
        ("fp32", 128.0, False),
        ("fp32", 45.0, True),
        ("fp16 weights, fp32 execution", 67.0, False),
        ("fp16", 28.0, True),
        ("bf16", 45.0, False),
        ("int8", 28.0, False),
        ("something new", 1.0, False),
    ],
)
def test_low_sqnr_is_suspected_only_below_what_the_precision_leaves(precision: str, sqnr_db: float, low: bool) -> None:
    sentences = explain(with_engine(precision=precision, sqnr_db=sqnr_db))
    assert any("Suspect other weights" in sentence for sentence in sentences) == low


@pytest.mark.parametrize(("onnx_macs", "words"), [(1010, "10 MACs more"), (990, "10 MACs fewer")])
def test_differing_macs_are_counted_and_explained(onnx_macs: int, words: str) -> None:
    flops = FlopsReport(pytorch_macs=1000, onnx_macs=onnx_macs, card=None, card_recomputed=None)
    assert "(1.00 %)" in sentence_with(words, COMPARISON.model_copy(update={"flops": flops}))


def test_equal_macs_are_called_the_same() -> None:
    sentence_with("PyTorch and the ONNX graph do the same multiply-accumulates", COMPARISON)


def test_the_cards_flops_are_explained_or_admitted_to_be_unexplained() -> None:
    assert "gives the card's figure exactly" in sentence_with("2,337,073,152 is not 2 x 1,814,073,344", COMPARISON)
    flops = COMPARISON.flops.model_copy(update={"card_recomputed": 2_337_073_150})
    other = COMPARISON.model_copy(update={"flops": flops})
    assert "-2 against the card, which stays unexplained" in sentence_with("is not 2 x", other)


def test_an_accuracy_far_from_the_cards_is_pointed_out() -> None:
    # Two standard errors at 72.62 % and 50,000 images: 1.96 sqrt(0.7262 x 0.2738 / 50000) = 0.39 %.
    far = COMPARISON.model_copy(update={"original": ORIGINAL.model_copy(update={"top1": 0.7162})})
    assert "1.00 pp below the card's, more than the 0.39 pp" in sentence_with("other images, labels", far)


def test_the_json_has_the_documented_keys_and_reads_back() -> None:
    document = COMPARISON.model_dump(mode="json")
    assert {"top1", "top5", "images"} <= set(document["original"])
    assert set(document["flops"]) == {"pytorch_macs", "onnx_macs", "card", "card_recomputed"}
    assert Comparison.model_validate_json(COMPARISON.model_dump_json()) == COMPARISON


def test_random_weights_are_not_held_against_the_cards_accuracy() -> None:
    weights = COMPARISON.weights.model_copy(update={"source": "random", "seed": 0})
    untrained = COMPARISON.model_copy(update={"weights": weights})
    assert "The weights are random and untrained" in printed(untrained)
    assert "leave to chance" not in printed(untrained)


def demo_score(bundle: str, engine: str, precision: str, images_per_s: float, **changes: Any) -> EngineScore:
    """Return a score of one of the four bundles, as onnxruntime and OpenVINO give them on 360 images."""
    same = {
        "drop": 0.0,
        "drop_ci95": (-0.0106, 0.0106),
        "mcnemar_p": 1.0,
        "only_original_right": 0,
        "only_engine_right": 0,
    }
    update = {"bundle": f"demo/{bundle}", "engine": engine, "precision": precision, "images_per_s": images_per_s}
    return ENGINE.model_copy(update={**update, "sqnr_db": 123.4, **same, **changes})


LOSES = {"drop": 0.028, "drop_ci95": (0.01, 0.05), "mcnemar_p": 0.002, "only_original_right": 10}
FP16 = "fp16 weights, fp32 execution"
FOUR = COMPARISON.model_copy(
    update={
        "bundles": tuple(f"demo/digits-{name}" for name in ("fp32", "fp16", "int8", "int8-cpu")),
        "original": ORIGINAL.model_copy(update={"images": 360}),
        "engines": (
            demo_score("digits-fp32", "openvino", "fp32", 1040.0),
            demo_score("digits-fp32", "onnxruntime", "fp32", 1272.0),
            demo_score("digits-fp16", "openvino", FP16, 1288.0),
            demo_score("digits-fp16", "onnxruntime", FP16, 1266.0),
            demo_score("digits-int8", "openvino", "int8", 3391.0),
            demo_score("digits-int8", "onnxruntime", "int8 weights, fp32 execution", 376.0),
            demo_score("digits-int8-cpu", "openvino", "int8", 3784.0, **LOSES),
            demo_score("digits-int8-cpu", "onnxruntime", "int8", 3129.0, **LOSES),
        ),
    }
)


def test_four_bundles_fit_80_columns_and_a_screen_with_one_line_for_each_row() -> None:
    lines = printed(FOUR, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    ruled = next(i for i, line in enumerate(lines) if line.startswith("─"))
    rows = [line.split() for line in lines[ruled + 1 : ruled + 10]]
    assert [row[0] for row in rows] == ["pytorch", *["openvino", "onnxruntime"] * 4]
    assert [row[1] for row in rows[1::2]] == ["fp32", "fp16", "int8", "int8-cpu"]
    assert "digits-…" in lines[ruled - 1]
    assert lines[ruled + 10] == ""


def test_the_decision_comes_first_and_names_the_fastest_that_loses_nothing() -> None:
    text = " ".join(printed(FOUR, width=80).split())
    assert text.startswith("Take digits-int8 in openvino (int8): of 8 the fastest of 6 that lose no top-1")
    assert "3,391 images/s against PyTorch's 50; 360 images leave room for a drop of 1.06 pp" in text


def test_at_most_five_notes_remain_and_what_changes_a_reading_is_among_them() -> None:
    notes = [line for line in printed(FOUR).splitlines() if line.startswith("- ")]
    assert len(notes) <= 5
    assert "Not noise, the interval excludes 0: digits-int8-cpu in openvino (int8) loses 2.80 pp (p 0.002)" in notes[0]


def test_details_leave_out_no_column_and_no_sentence() -> None:
    text = " ".join(printed(FOUR, width=80, details=True).split())
    for heading in ("top-5", "McNemar", "agree"):
        assert heading in text
    assert "top-5" not in printed(FOUR, width=80)
    assert all(sentence in text for sentence in explain(FOUR))


def test_where_every_engine_loses_none_is_taken_and_the_nearest_is_named() -> None:
    worse = FOUR.model_copy(update={"engines": FOUR.engines[-2:]})
    assert decide(worse).startswith("Take none of these unseen")
    assert "digits-int8-cpu in openvino (int8), loses 2.80 pp" in decide(worse)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sqnr_db": 1.0}, "Less SQNR than rounding leaves: onnxruntime (fp16) 1.0 dB"),
        ({}, "Borderline, interval and McNemar's p disagree; use more images: onnxruntime (fp16) loses 0.03 pp"),
    ],
)
def test_what_is_suspect_or_borderline_is_said_without_details(changes: dict[str, Any], words: str) -> None:
    assert any(sentence.startswith(words) for sentence in explain_briefly(with_engine(**changes)))


def test_many_failures_are_one_sentence_that_counts_them() -> None:
    broken = {"sqnr_db": None, "non_finite_logits": 4000, "non_finite_images": 4}
    engines = tuple(score.model_copy(update=broken) for score in FOUR.engines)
    text = printed(FOUR.model_copy(update={"engines": engines}))
    assert text.startswith(
        "FAILED: 8 of 8 engines give logits that are NaN or infinite (digits-fp32 in openvino (fp32)"
    )
    assert text.count("FAILED") == 1
