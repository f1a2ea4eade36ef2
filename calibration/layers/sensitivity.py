"""Which layer's quantisation costs how much of the logits, or without a classifier of the embeddings.

1. Each layer is quantised alone, its input and its weight, all others float. Noise power relative to the signal
   is 10^(-SQNR / 10).
2. A layer's share is its part of the sum of those powers. That noises of single layers add up assumes that they
   are independent and small; `additivity_db` says how far the measured SQNR of the whole INT8 graph is from the
   one that their sum foretells. A pair that two layers need, such as a skip side's, is counted with both.

Source: Lin, Talathi and Annapureddy 2016, Fixed point quantization of deep convolutional networks (arXiv
1511.06393): the reciprocal SQNRs of a network's quantisers add up to that of its output.
"""

import math
from collections.abc import Callable, Sequence

import onnx

from calibration.search.judge import Judge
from runtime.bundle.sensitivity_json import LayerSensitivity, Sensitivity
from runtime.errors import CalibrationError

# Names of the layers that stay float, to the Q/DQ graph in which all others are quantised.
Build = Callable[[frozenset[str]], onnx.ModelProto]


def measure_sensitivity(layers: Sequence[str], build: Build, *, judge: Judge) -> Sensitivity:
    """Return what each layer costs.

    One graph per layer is judged, and one with all of them quantised.

    Args:
        layers: Names of the layers that can be quantised, in graph order, at least one.
        build: Makes the graphs; called with subsets of `layers`, one graph alive at a time.
        judge: The images, with the float network's outputs.

    Raises:
        CalibrationError: A graph gives outputs that are not finite; the message names the layer.
    """
    assert layers, "no layer to measure"
    every = frozenset(layers)
    total = _sqnr_db(judge, build(frozenset()), "all layers")
    only = {name: _sqnr_db(judge, build(every - {name}), f"layer {name} alone") for name in layers}
    powers = {name: 10.0 ** (-db / 10.0) for name, db in only.items()}
    noise = math.fsum(powers.values())
    ranked = [
        LayerSensitivity(
            layer=name,
            sqnr_only_db=_finite(only[name]),
            noise_share=powers[name] / noise if noise else 0.0,
        )
        for name in sorted(layers, key=lambda name: -powers[name])
    ]
    return Sensitivity(
        layers=tuple(ranked),
        sqnr_all_db=_finite(total),
        additivity_db=_finite(total + 10.0 * math.log10(noise)) if noise else None,
        images=judge.images,
    )


def _sqnr_db(judge: Judge, model: onnx.ModelProto, quantized: str) -> float:
    db = judge.sqnr_db(model)
    if db == -math.inf:
        raise CalibrationError(
            f"with {quantized} quantised, outputs are NaN or infinite, or the float network's are all zero: expected "
            "finite ones; check the weights, or keep that layer float"
        )
    return db


def _finite(db: float) -> float | None:
    """Return the value, None for infinity, which JSON has no number for."""
    return db if math.isfinite(db) else None
