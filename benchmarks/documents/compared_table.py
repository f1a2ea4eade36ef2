"""The README's table: the demo's bundles beside the original, from what `run-ssl compare --save` kept of them."""

from pathlib import Path

from runtime.bundle.results.compare_json import Comparison, EngineScore

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "demo" / "digits-fp32" / "results" / "compare.json"
HEADINGS = ("engine", "bundle", "runs as", "top-1 %", "drop, pp (95 %)", "SQNR dB", "images/s")


def compared(result: Path = RESULT) -> str:
    """Return the table as Markdown: the original, OpenVINO on every bundle, and onnxruntime on what is made for it.

    Six rows are enough for a README; the whole comparison is in the how-to page.
    """
    found = Comparison.model_validate_json(result.read_text(encoding="utf-8"))
    original = found.original
    rows = [
        HEADINGS,
        ("---",) * len(HEADINGS),
        (
            "PyTorch, the original",
            "",
            original.precision,
            _percent(original.top1),
            "",
            "",
            _speed(original.images_per_s),
        ),
        *(_row(score) for score in found.engines if score.engine == "openvino" or score.bundle.endswith("-cpu")),
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _row(score: EngineScore) -> tuple[str, ...]:
    low, high = score.drop_ci95
    decibels = "not finite" if score.sqnr_db is None else f"{score.sqnr_db:.1f}"
    return (
        score.engine,
        Path(score.bundle).name,
        score.precision,
        _percent(score.top1),
        f"{_percent(score.drop)} ({_percent(low)} to {_percent(high)})",
        "equal" if score.identical else decibels,
        _speed(score.images_per_s),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _speed(images_per_s: float) -> str:
    return f"{images_per_s:,.0f}"
