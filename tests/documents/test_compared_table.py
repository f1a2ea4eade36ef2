"""The README's table holds what a comparison measured, and no more than six rows of the demo."""

from pathlib import Path

from benchmarks.documents.compared_table import compared
from runtime.bundle.manifest import Licence, Weights
from runtime.bundle.results.compare_json import (
    Comparison,
    DataReport,
    EngineScore,
    FlopsReport,
    OriginalScore,
    ParametersReport,
)


def score(bundle: str, engine: str, **changes: object) -> EngineScore:
    plain: dict[str, object] = {
        "bundle": bundle,
        "engine": engine,
        "precision": "int8",
        "top1": 0.98056,
        "top5": 1.0,
        "drop": -0.00833,
        "drop_ci95": (-0.02417, 0.00231),
        "mcnemar_p": 0.25,
        "agreement": 0.9917,
        "sqnr_db": 33.42,
        "identical": False,
        "images_per_s": 3391.4,
        "only_original_right": 0,
        "only_engine_right": 3,
        "non_finite_logits": 0,
        "non_finite_images": 0,
    }
    return EngineScore.model_validate({**plain, **changes})


def write(folder: Path, *engines: EngineScore) -> Path:
    original = OriginalScore(
        engine="pytorch",
        precision="fp32",
        top1=0.97222,
        top5=1.0,
        top5_k=5,
        images=360,
        images_per_s=614.2,
        non_finite_logits=0,
        non_finite_images=0,
    )
    comparison = Comparison(
        bundles=("demo/a",),
        model="resnet18",
        weights=Weights(source="file", name="a.pth", file_sha256="0" * 64, tensors_sha256="1" * 64),
        licence=Licence(spdx="MIT", notice=""),
        data=DataReport(source="val", images=360, seconds=1.0, images_per_s=360.0),
        original=original,
        engines=engines,
        parameters=ParametersReport(pytorch=7),
        flops=FlopsReport(pytorch_macs=7, onnx_macs=7, card=None, card_recomputed=None),
        card=None,
    )
    file = folder / "compare.json"
    file.write_text(comparison.model_dump_json(), encoding="utf-8")
    return file


def test_a_row_has_percentages_the_interval_and_the_speed(tmp_path: Path) -> None:
    table = compared(write(tmp_path, score("demo/digits-int8", "openvino"))).splitlines()
    assert table[2] == "| PyTorch, the original |  | fp32 | 97.22 |  |  | 614 |"
    assert table[3] == "| openvino | digits-int8 | int8 | 98.06 | -0.83 (-2.42 to 0.23) | 33.4 | 3,391 |"


def test_equal_logits_and_nan_have_no_decibels(tmp_path: Path) -> None:
    same = score("demo/a", "openvino", sqnr_db=None, identical=True)
    broken = score("demo/b", "openvino", sqnr_db=None, non_finite_logits=1, non_finite_images=1)
    table = compared(write(tmp_path, same, broken)).splitlines()
    assert [row.split(" | ")[5] for row in table[3:]] == ["equal", "not finite"]


def test_onnxruntime_is_shown_on_the_bundle_that_is_made_for_it_alone(tmp_path: Path) -> None:
    bundles = ("demo/digits-fp32", "demo/digits-fp16", "demo/digits-int8", "demo/digits-int8-cpu")
    scores = [score(bundle, engine) for bundle in bundles for engine in ("openvino", "onnxruntime")]
    rows = compared(write(tmp_path, *scores)).splitlines()[2:]
    assert len(rows) == 6
    assert [row for row in rows if "onnxruntime" in row] == [rows[-1]]
    assert "digits-int8-cpu" in rows[-1]
