"""What a comparison means, in sentences for people who do not read confidence intervals for a living."""

import math
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Literal

from runtime.bundle.results.compare_json import Comparison, EngineScore, FlopsReport, OriginalScore, ParametersReport
from runtime.support.words import counted, first_few, p_value, percent

# Where a p-value or a 95 % interval calls a drop real.
_SIGNIFICANCE = 0.05
# More failures than these are told in one sentence.
_SEPARATE_FAILURES = 2
# Logits SQNR, decibels, below which rounding alone does not explain the difference. One rounding to a
# p-bit significand leaves about 6 p dB (Source: Bennett, Bell System Technical Journal 27 (1948) 446);
# a ResNet-18 was measured at 128 (fp32), 67 (fp16), 45 (bf16) and 28 (int8). fp32 stands below the
# 94 dB that another order of summation may leave of a ResNeXt-101 32x16d, our longest sums (rule in
# `exporter/checks/tolerance.py`); the others 8 to 17 dB below the measured value, for deeper networks.
_ROUNDING_DB = {"fp32": 90.0, "fp16": 50.0, "bf16": 30.0, "int8": 20.0}


def explain(comparison: Comparison) -> tuple[str, ...]:
    """Return sentences on every drop, low SQNR and count that differs, failures first."""
    original, engines = comparison.original, comparison.engines
    return (
        *_failures(comparison),
        *_drops(original, engines),
        *_low_sqnr(engines),
        *_accuracy_of_card(comparison),
        _macs(comparison.flops),
        *_card_flops(comparison.flops),
        *_parameters(comparison.parameters),
    )


def explain_failures(comparison: Comparison) -> tuple[str, ...]:
    """Return the failures alone, in one sentence where many engines share them."""
    failures = _failures(comparison)
    broken = [score for score in comparison.engines if score.non_finite_logits]
    if len(broken) <= _SEPARATE_FAILURES:
        return tuple(failures)
    of_original = failures[: len(failures) - len(broken)]
    names = first_few([name_score(score) for score in broken])
    return (
        *of_original,
        f"FAILED: {len(broken)} of {len(comparison.engines)} engines give {comparison.output} that are NaN or "
        f"infinite ({names}); images with NaN count as wrong. Most likely activations overflow: use the FP32 bundle.",
    )


def explain_briefly(comparison: Comparison) -> tuple[str, ...]:
    """Return what changes the reading of the table, in at most five sentences; failures are `explain_failures`'s."""
    engines = comparison.engines
    real = [score for score in engines if judge_drop(score) == "real" and score.drop > 0]
    borderline = [score for score in engines if judge_drop(score) == "borderline"]
    low = [score for score in engines if is_suspect(score)]
    sentences = []
    if real:
        sentences.append(f"Not noise, the interval excludes 0: {_list_drops(real)}.")
    if borderline:
        sentences.append(f"Borderline, interval and McNemar's p disagree; use more images: {_list_drops(borderline)}.")
    if low:
        names = first_few([f"{name_score(score)} {score.sqnr_db:.1f} dB" for score in low])
        sentences.append(
            f"Less SQNR than rounding leaves: {names}. Suspect other weights, other preprocessing, or a lower"
            " precision than is reported; run-ssl verify tells which."
        )
    sentences += [sentence for sentence in _accuracy_of_card(comparison) if "within the" not in sentence]
    counts = [sentence for sentence in (_macs(comparison.flops), *_card_flops(comparison.flops)) if _differs(sentence)]
    if counts:
        sentences.append(" ".join(counts))
    return tuple(sentences)


def _list_drops(scores: Sequence[EngineScore]) -> str:
    drops = [
        f"{name_score(score)} {'gains' if score.drop < 0 else 'loses'} {percent(abs(score.drop))} pp"
        f" (p {p_value(score.mcnemar_p)})"
        for score in scores
    ]
    return first_few(drops, separator="; ")


def _differs(sentence: str) -> bool:
    return "do the same" not in sentence and "exactly" not in sentence


def name_score(score: OriginalScore | EngineScore) -> str:
    """Return what was scored in words: `digits-int8 in openvino (int8)`, or `pytorch (fp32)` for the original."""
    bundle = PurePath(score.bundle).name if isinstance(score, EngineScore) else ""
    name = f"{score.engine} ({score.precision})"
    return f"{bundle} in {name}" if bundle else name


def judge_drop(score: EngineScore) -> Literal["none", "noise", "borderline", "real"]:
    """Return whether a drop, or a gain, is more than chance; `none` where no hit changed."""
    if not score.only_original_right + score.only_engine_right:
        return "none"
    low, high = score.drop_ci95
    excluded, improbable = low > 0 or high < 0, score.mcnemar_p < _SIGNIFICANCE
    if excluded and improbable:
        return "real"
    return "borderline" if excluded or improbable else "noise"


def is_suspect(score: EngineScore) -> bool:
    """Return whether the SQNR is less than rounding to the precision leaves."""
    return score.sqnr_db is not None and score.sqnr_db < _rounding_db(score)


def _rounding_db(score: EngineScore) -> float:
    words = re.findall("|".join(_ROUNDING_DB), score.precision)
    return min((_ROUNDING_DB[word] for word in words), default=-math.inf)


def _failures(comparison: Comparison) -> list[str]:
    original, engines = comparison.original, comparison.engines
    # A logit is a number, an embedding has many.
    numbers = "logits" if comparison.neighbour_vote is None else "numbers of embeddings"

    def counts(score: OriginalScore | EngineScore) -> str:
        images = counted(score.non_finite_images, "image")
        return f"{score.non_finite_logits:,} {numbers} in {images} are NaN or infinite"

    sentences = []
    if original.non_finite_logits:
        sentences.append(
            f"FAILED: {name_score(original)}: {counts(original)} in the original itself, so no difference from it means"
            " anything; check the weights."
        )
    sentences += [
        f"FAILED: {name_score(score)}: {counts(score)}; images with NaN count as wrong. Most likely activations"
        " overflow this precision: export again with these images as --golden, or use the FP32 bundle."
        for score in engines
        if score.non_finite_logits
    ]
    return sentences


def _drops(original: OriginalScore, engines: tuple[EngineScore, ...]) -> list[str]:
    """Return one sentence for all engines that change no hit, and one for each other engine."""
    unchanged = [score for score in engines if judge_drop(score) == "none"]
    sentences = []
    if unchanged:
        names = ", ".join(name_score(score) for score in unchanged)
        bound = percent(unchanged[0].drop_ci95[1])
        sentences.append(
            f"{names}: right and wrong on the same images as the original; what {counted(original.images, 'image')} can"
            f" show is that a drop is below {bound} pp (95 %)."
        )
    return sentences + [_drop(score, original.images) for score in engines if score not in unchanged]


def _drop(score: EngineScore, images: int) -> str:
    kind, judged = "gain" if score.drop < 0 else "drop", judge_drop(score)
    if judged == "real":
        verdict = "is not noise: the interval excludes 0"
    elif judged == "borderline":
        verdict = "is borderline: interval and p disagree about 0; use more images"
    else:
        verdict = f"is within the noise of {counted(images, 'image')}: the interval includes 0"
    return (
        f"{name_score(score)}: the {kind} of {percent(abs(score.drop))} pp ({score.only_original_right:,} hits lost,"
        f" {score.only_engine_right:,} gained, McNemar's p {p_value(score.mcnemar_p)}) {verdict}."
    )


def _low_sqnr(engines: tuple[EngineScore, ...]) -> list[str]:
    return [
        f"{name_score(score)}: {score.sqnr_db:.1f} dB is less than the {_rounding_db(score):.0f} dB that rounding to"
        " its precision leaves. Suspect other weights, other preprocessing, or a lower precision than it reports;"
        " run-ssl verify tells which."
        for score in engines
        if is_suspect(score)
    ]


def _accuracy_of_card(comparison: Comparison) -> list[str]:
    original, card = comparison.original, comparison.card
    if card is None:
        return []
    if comparison.weights.source == "random":
        return ["The weights are random and untrained: the card's accuracy is of the trained ones."]
    # 1.96 standard errors of a share: the images here are a sample, the card's are another.
    noise = 1.96 * math.sqrt(card.top1 * (1 - card.top1) / original.images)
    difference = original.top1 - card.top1
    verdict = "more than" if abs(difference) > noise else "within"
    advice = "; other images, labels or preprocessing than the card's" if abs(difference) > noise else ""
    return [
        f"The original's top-1 is {percent(abs(difference))} pp {'below' if difference < 0 else 'above'} the card's,"
        f" {verdict} the {percent(noise)} pp that {counted(original.images, 'image')} leave to chance{advice}."
    ]


def _macs(flops: FlopsReport) -> str:
    if flops.pytorch_macs == flops.onnx_macs:
        return "PyTorch and the ONNX graph do the same multiply-accumulates; 1 MAC = 2 FLOPs."
    extra = flops.onnx_macs - flops.pytorch_macs
    share = abs(extra) / flops.pytorch_macs
    cause = "a layer runs twice or was split" if extra > 0 else "a layer was removed or computed ahead"
    return (
        f"The ONNX graph does {abs(extra):,} MACs {'more' if extra > 0 else 'fewer'} than PyTorch ({percent(share)} %):"
        f" {cause}; layers.json lists its nodes."
    )


def _card_flops(flops: FlopsReport) -> list[str]:
    if flops.card is None or flops.card_recomputed is None:
        return []
    if flops.card == flops.card_recomputed:
        verdict = "By that rule this network gives the card's figure exactly"
    else:
        off = flops.card_recomputed - flops.card
        verdict = f"By that rule this network gives {off:+,} against the card, which stays unexplained"
    return [
        f"The card's {flops.card:,} is not 2 x {flops.pytorch_macs:,}: it counts a multiply-accumulate once, adds 2 for"
        " every element of a BatchNorm and the average pool's additions, leaves out the classifier, and was taken on a"
        f" 1x3x224x285 input, a photograph that was resized but not cropped. {verdict}."
    ]


def _parameters(parameters: ParametersReport) -> list[str]:
    if parameters.onnx is None or parameters.onnx == parameters.pytorch:
        return []
    extra = parameters.onnx - parameters.pytorch
    return [
        f"The ONNX graph holds {abs(extra):,} constants {'more' if extra > 0 else 'fewer'} than PyTorch has parameters:"
        " folding turns each BatchNorm's weight and bias into one bias of its convolution, and the normalisation's mean"
        " and std are constants too."
    ]
