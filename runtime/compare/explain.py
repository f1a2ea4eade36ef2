"""What a comparison means, in sentences for people who do not read confidence intervals for a living."""

import math
import re

from runtime.bundle.results.compare_json import Comparison, EngineScore, FlopsReport, OriginalScore, ParametersReport
from runtime.support.words import counted, p_value, percent

# Where a p-value or a 95 % interval calls a drop real.
_SIGNIFICANCE = 0.05
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
        *_failures(original, engines),
        *_drops(original, engines),
        *_low_sqnr(engines),
        *_accuracy_of_card(comparison),
        _macs(comparison.flops),
        *_card_flops(comparison.flops),
        *_parameters(comparison.parameters),
    )


def _name(score: OriginalScore | EngineScore) -> str:
    return f"{score.engine} ({score.precision})"


def _failures(original: OriginalScore, engines: tuple[EngineScore, ...]) -> list[str]:
    def counts(score: OriginalScore | EngineScore) -> str:
        return f"{score.non_finite_logits:,} logits in {counted(score.non_finite_images, 'image')} are NaN or infinite"

    sentences = []
    if original.non_finite_logits:
        sentences.append(
            f"FAILED: {_name(original)}: {counts(original)} in the original itself, so no difference from it means"
            " anything; check the weights."
        )
    sentences += [
        f"FAILED: {_name(score)}: {counts(score)}; images with NaN count as wrong. Most likely activations overflow"
        " this precision: export again with these images as --golden, or use the FP32 bundle."
        for score in engines
        if score.non_finite_logits
    ]
    return sentences


def _drops(original: OriginalScore, engines: tuple[EngineScore, ...]) -> list[str]:
    """Return one sentence for all engines that change no hit, and one for each other engine."""
    unchanged = [score for score in engines if not score.only_original_right + score.only_engine_right]
    sentences = []
    if unchanged:
        names = ", ".join(_name(score) for score in unchanged)
        bound = percent(unchanged[0].drop_ci95[1])
        sentences.append(
            f"{names}: right and wrong on the same images as the original; what {counted(original.images, 'image')} can"
            f" show is that a drop is below {bound} pp (95 %)."
        )
    return sentences + [_drop(score, original.images) for score in engines if score not in unchanged]


def _drop(score: EngineScore, images: int) -> str:
    low, high = score.drop_ci95
    excluded, improbable = low > 0 or high < 0, score.mcnemar_p < _SIGNIFICANCE
    kind = "gain" if score.drop < 0 else "drop"
    if excluded and improbable:
        verdict = "is not noise: the interval excludes 0"
    elif excluded or improbable:
        verdict = "is borderline: interval and p disagree about 0; use more images"
    else:
        verdict = f"is within the noise of {counted(images, 'image')}: the interval includes 0"
    return (
        f"{_name(score)}: the {kind} of {percent(abs(score.drop))} pp ({score.only_original_right:,} hits lost,"
        f" {score.only_engine_right:,} gained, McNemar's p {p_value(score.mcnemar_p)}) {verdict}."
    )


def _low_sqnr(engines: tuple[EngineScore, ...]) -> list[str]:
    sentences = []
    for score in engines:
        words = re.findall("|".join(_ROUNDING_DB), score.precision)
        floor = min((_ROUNDING_DB[word] for word in words), default=-math.inf)
        if score.sqnr_db is not None and score.sqnr_db < floor:
            sentences.append(
                f"{_name(score)}: {score.sqnr_db:.1f} dB is less than the {floor:.0f} dB that rounding to its precision"
                " leaves. Suspect other weights, other preprocessing, or a lower precision than it reports; run-ssl"
                " verify tells which."
            )
    return sentences


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
