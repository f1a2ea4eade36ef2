"""Describe a calibration: what calibration.json says, from what was measured and chosen."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from calibration.activations.activation_statistics import TensorStatistics, compare_halves
from calibration.activations.histogram import Counts
from calibration.activations.thresholds import threshold
from calibration.graph.structure import layers
from calibration.options import Method
from calibration.qdq.placement import Placement, QuantizedTensor
from calibration.qdq.zero_points import MIDDLE
from calibration.search.choose import Choice
from calibration.weights.scales import LEVELS
from runtime.bundle.calibration_json import Activation, Calibration, Fingerprint
from runtime.support.engine_names import Int8Target

# What the halves are compared by: the exact maximum is one image's, and would say that nothing ever converges.
_COMPARED_BY: Method = "mse"


def describe_calibration(
    choice: Choice,
    placement: Placement,
    statistics: Mapping[str, TensorStatistics],
    *,
    fingerprint: Fingerprint,
    held_out: int,
    warnings: tuple[str, ...],
    graph: ir.Model,
) -> Calibration:
    """Return the content of calibration.json.

    Args:
        choice: What was chosen.
        placement: Where Q/DQ are.
        statistics: Statistics of the float graph, before equalisation.
        fingerprint: What it was made from.
        held_out: Images that only judged.
        warnings: What was wrong with the decoded images.
        graph: The float graph.
    """
    kept = [trial for trial in choice.techniques if trial.kept]
    return Calibration(
        fingerprint=fingerprint,
        target=placement.target,
        method=choice.method,
        candidates=choice.candidates,
        techniques=choice.techniques,
        activations=tuple(
            _activation(choice, statistics[tensor.name], tensor, placement.target) for tensor in placement.activations
        ),
        layers=placement.weights,
        float_layers=tuple(node.name or "" for node in layers(graph) if node.name not in placement.weights),
        images=next(iter(statistics.values())).images + held_out,
        held_out=held_out,
        held_out_sqnr_db=round(kept[-1].sqnr_db, 3),
        convergence=compare_halves({name: _clips_of_halves(found) for name, found in statistics.items()}),
        warnings=warnings,
    )


def _clips_of_halves(statistics: TensorStatistics) -> tuple[float, float]:
    """Return the clipping thresholds that the images at even positions lead to, and those at odd ones."""

    def clip(counts: Counts) -> float:
        return threshold(counts, statistics.width, statistics.amax, method=_COMPARED_BY, levels=LEVELS)

    even, odd = statistics.halves.counts
    return clip(even), clip(odd)


def _activation(
    choice: Choice, statistics: TensorStatistics, tensor: QuantizedTensor, target: Int8Target
) -> Activation:
    factors = choice.parts.factors.get(statistics.name, np.ones(1))
    zero_point = 0 if tensor.unsigned else choice.parts.zero_points.get(tensor.name, MIDDLE)
    return Activation(
        name=statistics.name,
        scale=choice.parts.activation_scales[statistics.name],
        unsigned=tensor.unsigned,
        zero_point=zero_point if target == "cpu" else None,
        clip=choice.clips[statistics.name],
        low=float((statistics.low / factors).min()),
        high=float((statistics.high / factors).max()),
        amax_before=statistics.amax,
    )
