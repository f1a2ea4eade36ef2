"""Results by hand for the report's tests: two small bundles with everything that can be measured of them."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime.bundle.manifest import Card, Int8, Licence, Precision, Weights
from runtime.bundle.results.bench_json import (
    BatchChoice,
    BenchResult,
    Interval,
    Latency,
    LayerTime,
    Limit,
    Machine,
    Measured,
    Noise,
)
from runtime.bundle.results.changed_json import ChangedImage, Changes, EngineChanges
from runtime.bundle.results.compare_json import (
    Comparison,
    DataReport,
    EngineScore,
    FlopsReport,
    OriginalScore,
    ParametersReport,
)
from runtime.bundle.results.neighbours_json import Agreement, NeighbourCheck, Recall, Search, write_neighbours
from tests.helpers.bundles import write_hand_made
from tests.helpers.plans import plan_bytes, sidecar_fields

LICENCE = Licence(spdx="MIT", notice="Do what you like.")
WEIGHTS = Weights(source="file", name="tiny.pth", file_sha256="0" * 64, tensors_sha256="1" * 64)
# Median milliseconds of one call by batch; INT8 is three times as fast as FP32, and eight times as PyTorch.
FP32_MS, INT8_MS, PYTORCH_MS = 3.0, 1.0, 8.0
ROUNDS, CALLS = 10, 20
CARD = Card(top1=0.7, top5=0.9, flops=7, flops_recomputed=7)


def sample_measured(
    bundle: str, precision: str, median_ms: float, *, batch: int = 1, engine: str = "openvino"
) -> Measured:
    """Return a subject whose calls scatter by some per cent about a median."""
    rng = np.random.default_rng([batch, *f"{bundle}{engine}{precision}".encode()[-8:]])
    rounds = median_ms * (1 + 0.02 * rng.standard_gamma(2.0, (ROUNDS, CALLS)) - 0.03)
    calls = rounds.ravel()
    low, median, high = np.percentile(calls, [45, 50, 55]).tolist()
    mean = float(calls.mean())
    p90, p95, p99 = np.percentile(calls, [90, 95, 99]).tolist()
    return Measured(
        name=f"{bundle} {engine} {precision} batch {batch}",
        kind="peer" if engine.startswith("pytorch") else "bundle",
        bundle=bundle,
        engine=engine,
        precision=precision,
        batch=batch,
        threads=2,
        scope="model",
        latency=Latency(
            runs=calls.size,
            median_ms=median,
            median_ci95=Interval(low=low, high=high),
            mean_ms=mean,
            mean_ci95=Interval(low=0.99 * mean, high=1.01 * mean),
            min_ms=float(calls.min()),
            max_ms=float(calls.max()),
            p90_ms=p90,
            p95_ms=p95,
            p99_ms=p99,
            p99_ci95=None,
        ),
        images_per_s=1000 * batch / mean,
        load_ms=120.0,
        first_ms=2 * median_ms,
        peak_memory_mb=210.0,
        rounds_ms=tuple(tuple(row) for row in rounds.tolist()),
    )


def sample_limit(name: str, precision: str, total_ms: float) -> Limit:
    """Return a roofline of four layers, the first half of the time."""
    shares = (("conv1", "Conv", 0.5), ("layer1.0.conv1 + layer1.0.act1", "Conv", 0.3), ("fc", "Gemm", 0.2))
    layers = tuple(
        LayerTime(
            name=layer,
            operator=operator,
            macs=int(4e7 * share),
            moved_bytes=int(2e6 * share) + 1000 * place,
            precision=precision,
            ms=total_ms * share,
            bound_ms=0.6 * total_ms * share,
        )
        for place, (layer, operator, share) in enumerate(shares)
    )
    extra = LayerTime(
        name="reorder", operator="Reorder", macs=0, moved_bytes=40_000, precision="fp32", ms=0.01, bound_ms=0.004
    )
    return Limit(
        name=name,
        gmacs_per_s=80.0,
        gb_per_s=12.0,
        bound_ms=0.6 * total_ms,
        share=0.6,
        layers=(*layers, extra),
        findings=("conv1 takes half of the time.",),
    )


def sample_bench(fp32: Path, int8: Path) -> BenchResult:
    """Return a benchmark of two bundles at three batches and of PyTorch."""
    measured = [sample_measured(str(fp32), "fp32", PYTORCH_MS, engine="pytorch eager")]
    for batch in (1, 2, 4):
        scale = batch**0.9
        measured.append(sample_measured(str(fp32), "fp32", FP32_MS * scale, batch=batch))
        measured.append(sample_measured(str(int8), "int8", INT8_MS * scale, batch=batch))
    return BenchResult(
        started_at="2026-11-24T12:00:00Z",
        seconds=61.0,
        machine=Machine(
            cpu="A processor",
            instructions=("avx2", "avx512_vnni"),
            cores=2,
            governor="",
            memory_gb=8.0,
            virtual="kvm",
            platform="linux-x86_64",
            gpus=(),
            driver="",
            python="3.11.2",
            versions={"openvino": "2026.4.1"},
            commit="abc1234",
        ),
        noise=Noise(load_before=0.4, steal_share=0.001, busy_share=0.02, drift=1.02, warnings=("The clock drifted.",)),
        scope="model",
        seed=0,
        model="tiny",
        licence=LICENCE,
        measured=tuple(measured),
        absent={"trtexec": "it is not on PATH"},
        limits=(
            sample_limit(measured[1].name, "fp32", FP32_MS),
            sample_limit(measured[2].name, "int8", INT8_MS),
        ),
        choices=(
            BatchChoice(
                budget_ms=5.0,
                bundle=str(int8),
                engine="openvino",
                precision="int8",
                batch=4,
                images_per_s=1150.0,
                text="Within 5 ms take batch 4.",
            ),
        ),
        commands={measured[1].name: ("benchmark_app -m model.onnx -hint latency",)},
    )


# What these precisions usually reach.
_USUAL_DB = {"fp32": 122.5, "fp16": 64.8, "int8": 33.4}


def sample_score(bundle: Path, precision: str, *, lost: int, gained: int, images: int = 1000) -> EngineScore:
    """Return a score that differs from an original with 70 % by so many hits."""
    drop = (lost - gained) / images
    return EngineScore(
        bundle=str(bundle),
        engine="openvino",
        precision=precision,
        top1=0.7 - drop,
        top5=0.9,
        drop=drop,
        drop_ci95=(drop - 0.004, drop + 0.004),
        mcnemar_p=0.5,
        agreement=1 - (lost + gained) / images,
        sqnr_db=_USUAL_DB[precision],
        identical=False,
        images_per_s=500.0,
        only_original_right=lost,
        only_engine_right=gained,
        non_finite_logits=0,
        non_finite_images=0,
    )


def sample_comparison(fp32: Path, int8: Path, *, lost: int = 5) -> Comparison:
    """Return a comparison on 1000 images, in which INT8 loses `lost` hits and gains 2."""
    return Comparison(
        bundles=(str(fp32), str(int8)),
        model="tiny",
        weights=WEIGHTS,
        licence=LICENCE,
        data=DataReport(source="pictures", images=1000, seconds=10.0, images_per_s=100.0),
        original=OriginalScore(
            engine="pytorch",
            precision="fp32",
            top1=0.7,
            top5=0.9,
            top5_k=2,
            images=1000,
            images_per_s=50.0,
            non_finite_logits=0,
            non_finite_images=0,
        ),
        engines=(sample_score(fp32, "fp32", lost=0, gained=0), sample_score(int8, "int8", lost=lost, gained=2)),
        parameters=ParametersReport(pytorch=10),
        flops=FlopsReport(pytorch_macs=5, onnx_macs=5, card=7, card_recomputed=7),
        card=None,
    )


def sample_changes(int8: Path, *, name: str = "a.jpg", label: str = "a") -> Changes:
    """Return one changed image."""
    content = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(content, "JPEG")
    image = ChangedImage(
        name=name,
        label=label,
        original="b",
        found="c",
        margins=(0.21, 0.05),
        thumbnail_jpeg_base64=base64.b64encode(content.getvalue()).decode(),
    )
    return Changes(
        engines=(
            EngineChanges(bundle=str(int8), engine="openvino", precision="int8", images=1000, changed=1, kept=(image,)),
        )
    )


def sample_calibration() -> dict[str, object]:
    """Return a calibration.json with two activations, and a key that no reader knows."""
    return {
        "schema_version": 1,
        "fingerprint": {"images": 32},
        "target": "cpu",
        "method": "mse",
        "candidates": [{"name": "max, as it is", "sqnr_db": 28.1, "kept": False}],
        "techniques": [{"name": "bias correction", "sqnr_db": 33.0, "kept": True, "gain_ci95_db": [0.04, 0.311]}],
        "activations": [
            {
                "name": "div",
                "scale": 0.02,
                "unsigned": False,
                "clip": 2.54,
                "low": -2.1,
                "high": 2.6,
                "amax_before": 2.6,
            },
            {"name": "act1", "scale": 0.04, "unsigned": True, "clip": 5.1, "low": 0.0, "high": 5.9, "amax_before": 4.0},
        ],
        "layers": ["conv1"],
        "float_layers": ["fc"],
        "images": 32,
        "held_out": 8,
        "held_out_sqnr_db": 33.0,
        "convergence": {"median": 0.013, "worst": 0.036, "worst_tensor": "act1"},
        "warnings": ["all images are grey"],
    }


def sample_sensitivity() -> dict[str, object]:
    """Return a sensitivity.json of two layers, of which one stays float."""
    return {
        "schema_version": 1,
        "sensitivity": {
            "layers": [
                {"layer": "conv1", "sqnr_only_db": 39.9, "noise_share": 0.8},
                {"layer": "fc", "sqnr_only_db": None, "noise_share": 0.2},
            ],
            "sqnr_all_db": 33.0,
            "additivity_db": 0.1,
            "images": 8,
        },
        "max_drop": 0.005,
        "engine": "openvino",
        "int8_ms": 1.0,
        "float_layers": [{"layer": "fc", "cost_ms": 0.05}],
    }


def sample_neighbours(bundle: Path) -> NeighbourCheck:
    """Return a check on 1000 images: of their first neighbours 47 are lost with a new index, 12 with PyTorch's."""

    def search(lost: int, at_ten: float) -> Search:
        first = round(1 - lost / 1000, 3)
        return Search(
            recalls=(
                Recall(k=1, recall=first, ci95=(first - 0.013, first + 0.011), chance=0.001),
                Recall(k=10, recall=at_ten, ci95=(at_ten - 0.004, at_ten + 0.004), chance=0.01),
            ),
            lost=lost,
            near_ties=lost - 1,
            farther_median=0.011,
            farther_most=0.12,
            first_listed=1.0,
            noise=0.009,
        )

    return NeighbourCheck(
        bundle=str(bundle),
        model="tiny",
        engine="openvino",
        precision="int8",
        source="photos",
        agreement=Agreement(
            images=1000,
            metric="cosine",
            depth=10,
            renewed=search(47, 0.961),
            kept=search(12, 0.982),
            step=0.09,
            copies=0,
            cosine_mean=0.9994,
            cosine_lowest=0.9989,
        ),
    )


def write_plan(bundle: Path) -> None:
    """Write a TensorRT plan of two layers, both INT8 by promise, of which `fc` runs in FP32, with layer times."""
    verdicts = [
        {"name": name, "operator": operator, "macs": macs, "promised": "int8", "ran": ran, "engine_layer": name}
        | {"kind": "CaskConvolution", "reason": reason}
        for name, operator, macs, ran, reason in (
            ("conv1", "Conv", 75, "int8", ""),
            ("fc", "Gemm", 25, "fp32", "its input is FP32"),
        )
    ]
    certificate = {
        "required_share": 0.5,
        "kept": 1,
        "promised": 2,
        "macs_share": 0.75,
        "verdicts": verdicts,
        "reformats": ["Reformatting CopyNode for conv1"],
        "unfused_qdq": [],
        "fp32_islands": ["fc (CaskConvolution)"],
        "crossings": [],
        "layer_times_ms": {"conv1": 0.06, "fc": 0.02},
    }
    plan = plan_bytes()
    (bundle / "model.plan").write_bytes(plan)
    fields = sidecar_fields(bundle, plan, certificate=certificate, precision="int8", required_share=0.5)
    (bundle / "model.plan.json").write_text(json.dumps(fields))
    eight = "Thirty-two wide channel vectorized row major Int8 format"
    layers = [
        {"Name": "conv1", "LayerType": "CaskConvolution", "TacticName": "sm80_conv", **_tensors(eight, eight)},
        {"Name": "fc", "LayerType": "CaskConvolution", "TacticName": "sgemm", **_tensors("Row major linear FP32")},
    ]
    (bundle / "model.plan.layers.json").write_text(json.dumps({"Layers": layers, "Bindings": ["pixels"]}))


def _tensors(read: str, written: str = "Row major linear FP32") -> dict[str, object]:
    def tensor(name: str, form: str) -> dict[str, object]:
        return {"Name": name, "Dimensions": [-1, 64, 32, 32], "Format/Datatype": form}

    return {"Inputs": [tensor("x", read)], "Outputs": [tensor("y", written)]}


def write_bundles(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """Write an FP32 and an INT8 bundle without results and return their paths."""
    int8 = Int8(target="cpu", method="mse", techniques=(), images=32, held_out=8, held_out_sqnr_db=33.0)
    return (
        write_hand_made(folder / "tiny-fp32", card=CARD, **changes),
        write_hand_made(
            folder / "tiny-int8", precision=Precision(name="int8", min_sqnr_db=20.0, int8=int8), card=CARD, **changes
        ),
    )


def write_everything(folder: Path) -> tuple[Path, Path]:
    """Write both bundles with all results but a TensorRT plan and return their paths; the INT8 one has the results."""
    fp32, bundle = write_bundles(folder)
    (bundle / "calibration.json").write_text(json.dumps(sample_calibration()))
    (bundle / "sensitivity.json").write_text(json.dumps(sample_sensitivity()))
    results = bundle / "results"
    results.mkdir()
    (results / "bench.json").write_text(sample_bench(fp32, bundle).model_dump_json())
    (results / "compare.json").write_text(sample_comparison(fp32, bundle).model_dump_json())
    (results / "changed.json").write_text(sample_changes(bundle).model_dump_json())
    write_neighbours(results / "neighbours.json", sample_neighbours(bundle))
    return fp32, bundle
