"""What an export prints: that it passed, the steps on one screen, and all that was tried on request."""

import io
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from exporter.pipeline import ExportResult
from exporter.printing.export_table import print_notices, print_result
from exporter.steps.int8 import QuantizedGraph
from runtime.bundle.calibration_json import Calibration, CalibrationFacts
from runtime.bundle.manifest import Step, StepOutput
from runtime.bundle.sensitivity_json import LayerSearch
from tests.helpers.bundles import hand_made_manifest
from tests.helpers.report_samples import sample_calibration, sample_sensitivity

METHODS = ("max", "percentile-99.99", "percentile-99.999", "entropy", "mse")
TECHNIQUES = ("weights: largest magnitude", "weights: MSE clipping", "layer-wise rounding", "bias correction")


def steps(last: str) -> tuple[Step, ...]:
    names = ("trace", "fold-batchnorm", "simplify", last, "final")
    return tuple(
        Step(
            name=name,
            nodes={"Conv": 20, "Relu": 17},
            sqnr_db=31.5,
            required_db=26.4,
            outputs={
                "logits": StepOutput(sqnr_db=32.6, required_db=26.4),
                "embedding": StepOutput(sqnr_db=31.5, required_db=26.4),
            },
            summary=f"did {name}",
        )
        for name in names
    )


def int8(*, layers: LayerSearch | None = None) -> QuantizedGraph:
    sample = {
        **sample_calibration(),
        "candidates": [
            {"name": f"{method}, {how}", "sqnr_db": 30.0, "kept": (method, how) == ("mse", "equalised")}
            for how in ("as it is", "equalised")
            for method in METHODS
        ],
        "techniques": [{"name": name, "sqnr_db": 33.0, "kept": "largest" not in name} for name in TECHNIQUES],
    }
    known = {name: value for name, value in sample.items() if name in CalibrationFacts.model_fields}
    calibration = cast("Calibration", CalibrationFacts.model_validate(known))
    # Neither the graph nor the manifest's entry is printed.
    return QuantizedGraph(
        model=cast("Any", None),
        int8=cast("Any", None),
        summary="",
        files={},
        findings=(),
        calibration=calibration,
        layers=layers,
    )


def printed(quantized: QuantizedGraph | None = None, *, width: int = 80, details: bool = False) -> str:
    return printed_steps(steps("fp16" if quantized is None else "int8"), quantized, width=width, details=details)


def printed_steps(
    made: tuple[Step, ...], quantized: QuantizedGraph | None = None, *, width: int = 80, details: bool = False
) -> str:
    manifest = hand_made_manifest().model_copy(update={"steps": made})
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_result(ExportResult(Path("out/net-int8"), manifest, quantized), console, details=details)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    return text


@pytest.mark.parametrize("quantized", [None, int8()], ids=["fp16", "int8"])
def test_that_it_passed_comes_first_and_the_whole_is_at_most_24_lines(quantized: QuantizedGraph | None) -> None:
    lines = printed(quantized).splitlines()
    assert lines[0].startswith("Passed: out/net-int8 holds ")
    assert "32.6 dB SQNR" in " ".join(lines[:3])
    assert "its embedding at 31.5 dB SQNR" in " ".join(lines[:3])
    assert "required are 26.4 dB" in " ".join(lines[:3])
    assert "next: run-ssl compare out/net-int8 --data FOLDER" in lines[:4]
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("- ") for line in lines) <= 6


def next_line(result: ExportResult) -> str:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    print_result(result, console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    return next(line for line in text.splitlines() if line.startswith("next: "))


def test_the_next_command_names_the_checkpoint_where_it_would_not_be_found(tmp_path: Path) -> None:
    weights = hand_made_manifest().weights.model_copy(update={"source": "file", "name": "mine.pth"})
    manifest = hand_made_manifest().model_copy(update={"steps": steps("fp16"), "weights": weights})
    checkpoint = tmp_path / "my models" / "mine.pth"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    away = next_line(ExportResult(tmp_path / "net", manifest, checkpoint=checkpoint))
    assert away == f"next: run-ssl compare {tmp_path}/net --data FOLDER --weights '{checkpoint}'"
    beside = next_line(ExportResult(checkpoint.parent / "net", manifest, checkpoint=checkpoint))
    assert beside == f"next: run-ssl compare '{checkpoint.parent}/net' --data FOLDER"


def test_every_output_has_its_column_and_tolerances_that_differ_are_both_shown() -> None:
    outputs = {
        "logits": StepOutput(sqnr_db=None, required_db=66.2),
        "embedding": StepOutput(sqnr_db=60.7, required_db=57.9),
    }
    one = Step(name="final", nodes={"Conv": 1}, sqnr_db=60.7, required_db=57.9, outputs=outputs, summary="done")
    told = " ".join(printed_steps((one,)).split())
    assert "its logits equal to PyTorch's and its embedding at 60.7 dB SQNR against PyTorch's" in told
    assert "required are 66.2 and 57.9 dB" in told
    assert "final 1 equal 60.7 66.2 done 57.9" in told
    assert "logits embedding required" in told


def test_outputs_of_a_network_without_a_classifier_are_the_embedding_alone() -> None:
    outputs = {"embedding": StepOutput(sqnr_db=60.7, required_db=57.9)}
    one = Step(name="final", nodes={"Conv": 1}, sqnr_db=60.7, required_db=57.9, outputs=outputs, summary="done")
    assert "logits" not in printed_steps((one,))


def test_what_the_calibration_kept_is_a_sentence_and_all_that_it_tried_is_details() -> None:
    brief, full = printed(int8()), printed(int8(), details=True)
    assert "kept of 10 ways to clip activations: mse, equalised; then: weights: MSE clipping, layer-wise rounding," in (
        " ".join(brief.split())
    )
    for name in (
        *(f"activations: {method}, as it is" for method in METHODS),
        *TECHNIQUES,
        "nodes after final: 20 Conv",
    ):
        assert name in full
    assert "entropy" not in brief
    assert "`--details`" in brief


def test_the_drop_that_was_reached_stands_before_the_steps() -> None:
    reached = {"kept_float": ["fc"], "lost": 3, "gained": 1, "images": 1000}
    layers = LayerSearch.model_validate(
        {**sample_sensitivity(), "reached": reached, "notice": "p is of another search"}
    )
    text = printed(int8(layers=layers))
    told = " ".join(text.split())
    assert "top-1 drop 0.20 pp (95 %: " in told
    assert "on 1000 images, 0.5 allowed, with 1 of 2 layers float" in told
    assert told.index("top-1 drop") < told.index("p is of another search") < told.index("what it did")
    assert "fc float: +0.050 ms in openvino" in told


def test_what_there_is_to_know_about_class_names_is_a_warning() -> None:
    console = Console(file=io.StringIO(), width=200)
    notice = "warning: the 3 classes have no names"
    print_notices(ExportResult(path=Path("b"), manifest=hand_made_manifest(), notices=(notice,)), console)
    assert notice in console.file.getvalue().splitlines()  # type: ignore[attr-defined]
