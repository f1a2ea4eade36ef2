"""docs/reference/models.md: which of timm's ResNets can be exported, from what `benchmarks.export.family` measured."""

import json
from typing import Any

from benchmarks.documents.reference.markdown import one_line, page, table
from benchmarks.documents.reference.sources import ROOT
from benchmarks.export.trained_kinds import KINDS, TARGETS
from runtime.support.words import percent

KINDS_RESULT = ROOT / "benchmarks" / "results" / "trained_kinds.json"
RESULT = ROOT / "benchmarks" / "results" / "family.json"
_MADE = (
    "<!-- Written by `make reference` from benchmarks/results/family.json, which `python -m benchmarks.export.family` "
    "measures. -->"
)
_COLUMNS = {
    "fp32": "FP32",
    "fp16": "FP16",
    "int8-tensorrt": "INT8, `tensorrt`",
    "int8-cpu": "INT8, `cpu`",
}
_HEAD = f"""\
# Models

{_MADE}

Every architecture of timm's ResNet family, exported with random weights, 10 classes and images of 64 x 64 pixels by
`python -m benchmarks.export.family`. The numbers are decibels of SQNR against PyTorch, of the logits and of the
embedding, on images that calibration has not seen. INT8 is calibrated on 64 pieces of photographs, for both values of
`--int8-target`. Networks with random weights lose more by INT8 than trained ones, those with GroupNorm apart (second
table): take these numbers as a lower bound, and see [Measured](../measured.md) for trained networks. The columns `cpu`
of both tables are from before zero points below 128: trained networks gained 0.8 to 2.2 dB by these ([How INT8
works](../explanation/how-int8-works.md#no-levels-for-what-a-relu-hides))."""
_KINDS = """\
## Trained, and with random weights

A low figure in the table above may come from how a kind of network is built, or from weights that nobody trained. So
one small network of each kind is trained on handwritten digits, and it and the same network with random weights are
exported and calibrated on the same pictures: `python -m benchmarks.export.trained_kinds FOLDER`. The figures are those
of `run-ssl compare` in onnxruntime on 360 held-out pictures: PyTorch's top-1 accuracy, then for INT8 the SQNR of the
logits, images with PyTorch's top-1 class, and in brackets what equalisation alone gives on the images held out of
calibration, before weights are rounded. A dash stands where nothing can be equalised."""
_REFUSED = """\
## Not exported

Of what timm builds in its modules `senet` and `byobnet`, these have ResNet in their names. They have other names for
their layers, and are refused as unknown models:"""


def models_page() -> str:
    """Return the page."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    refused = {name for name, row in result["networks"].items() if _is_unknown(row.get("fp32", {}))}
    reasons: dict[str, int] = {}
    rows = [
        [f"`{name}`", *(_cell(row.get(precision), reasons) for precision in _COLUMNS)]
        for name, row in sorted(result["networks"].items())
        if name not in refused
    ]
    missing = sum(
        precision not in row
        for name, row in result["networks"].items()
        if name not in refused
        for precision in _COLUMNS
    ) + len(_COLUMNS) * (len(result["family"]) - len(result["networks"]))
    versions = result["environment"]["versions"]
    return page(
        _HEAD,
        f"Measured with timm {versions['timm']}, torch {versions['torch']} and onnxruntime {versions['onnxruntime']}."
        + (" A dash stands where the command has not been run yet." if missing else ""),
        table(["model", *_COLUMNS.values()], rows),
        "\n".join(f"{number}. {one_line(reason)}" for reason, number in reasons.items()),
        *_kinds(),
        _REFUSED,
        ", ".join(f"`{name}`" for name in sorted(refused)) + ".",
    )


def _kinds() -> tuple[str, ...]:
    """Return the section on trained networks: its text, and the table of what has been measured."""
    networks = json.loads(KINDS_RESULT.read_text(encoding="utf-8"))["networks"]
    rows = [
        [
            f"`{name}`",
            kind,
            weights,
            f"{percent(next(iter(networks[name][weights].values()))['top1'])} %",
            *(_kind_cell(networks[name][weights].get(target)) for target in TARGETS),
        ]
        for name, kind in KINDS.items()
        for weights in ("trained", "random")
        if any(networks.get(name, {}).get(weights, {}).values())
    ]
    return (
        _KINDS,
        table(["model", "kind", "weights", "top-1", *(f"INT8, `{target}`" for target in TARGETS)], rows),
        _conclusion(networks),
    )


def _conclusion(networks: dict[str, Any]) -> str:
    """Return how much training alone changes, how far trained kinds are from the plain one, and what is missing."""
    plain, *kinds = KINDS
    measured = {
        (name, weights, target): found["sqnr_db"]
        for name, rows in networks.items()
        for weights, row in rows.items()
        for target, found in row.items()
    }
    sentences = []
    for target in TARGETS:
        gains = [
            f"{measured[name, 'trained', target] - measured[name, 'random', target]:+.1f} for `{name}`"
            for name in KINDS
            if (name, "trained", target) in measured and (name, "random", target) in measured
        ]
        apart = [
            f"{measured[name, 'trained', target] - measured[plain, 'trained', target]:+.1f} for `{name}`"
            for name in kinds
            if (name, "trained", target) in measured and (plain, "trained", target) in measured
        ]
        if gains:
            sentences.append(f"With `{target}`, training alone changes, in dB: {', '.join(gains)}.")
        if apart:
            sentences.append(f"Trained, with `{target}`, the difference from the plain network is: {', '.join(apart)}.")
    missing = [kind for name, kind in KINDS.items() if name not in networks]
    if missing:
        sentences.append(f"Kinds that have not been measured yet: {', '.join(missing)}.")
    return "\n\n".join(sentences)


def _kind_cell(found: dict[str, Any] | None) -> str:
    """Return SQNR, agreement, and what equalisation gives."""
    if found is None:
        return "-"
    as_it_is, equalised = found["as_it_is_db"], found["equalised_db"]
    gain = "-" if equalised is None else f"{equalised - as_it_is:+.1f} dB"
    return f"{found['sqnr_db']:.1f} dB, {percent(found['agreement'])} % ({gain})"


def _is_unknown(found: dict[str, Any]) -> bool:
    return "is not a model of timm's ResNet family" in found.get("reason", "")


def _cell(found: dict[str, Any] | None, reasons: dict[str, int]) -> str:
    """Return both figures, or the number of the sentence that says why there is none."""
    if found is None:
        return "-"
    if "reason" in found:
        return f"no ({reasons.setdefault(found['reason'].removeprefix('error: '), len(reasons) + 1)})"
    decibels = found["sqnr_db"]
    return " / ".join("equal" if decibels[of] is None else f"{decibels[of]:.0f}" for of in ("logits", "embedding"))
