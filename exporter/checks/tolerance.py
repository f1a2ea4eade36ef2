"""How far an exported graph may be from the PyTorch original: derived, not chosen.

Every output has a tolerance of its own: its least SQNR against PyTorch on the golden images.

FP32. An inner product of K float32 terms, summed in another order, differs by about u sqrt(K)
relative to its size, u = 2^-24. The errors of the layers are independent and add in power, so an
output may differ by u sqrt(sum of K over all convolutions and the classifier); the tolerance is that
as an SQNR: about 99.5 dB for a ResNet-18. (128 dB is what is measured; a wrong mean, a wrong filter
or bf16 execution lands below 60 dB.) That takes sums to be as large as what they add up. Where they
cancel, as for the small logits of dark images, rounding is larger beside the result: it is measured on
the network (`exporter/checks/rounding_noise.py`), and `excess_db` is what chance may add to it. Where that
leaves less than the rule above, it is the tolerance.
Source: Higham and Mary 2019, "A new approach to probabilistic rounding error analysis", theorem 2.4.

FP16. The reference is the same network as PyTorch runs it in FP16: its own SQNR against FP32 is the
rounding noise that this network has in FP16. Another order of the same roundings has noise of the same
power; `margin_db` is what two such noises may differ by: 3 dB, a factor of two in power, and more for
outputs of few values. The values are counted on one image: the noise of images that are alike is alike.
Where PyTorch's FP16 overflows, or has grouped convolutions (which CPUs without FP16 arithmetic take
seconds for), the noise is measured on the FP32 network instead, with weights and module outputs rounded
to FP16 one by one, except those that overflow. That leaves out the roundings inside a sum, which cost
less than 6 dB, one bit: so much is allowed for them (docs/explanation/decisions.md).
An output without noise, as a classifier of zeros has, is still one FP16 number: it may be rounded once.

FP16 sums. Some engines add up in FP16 too (onnxruntime on ARM). How many decibels that costs is found by emulating one
such engine (`exporter/checks/fp16_sums.py`), and the tolerance of FP16 is lowered by so much. Where some of the golden
images were emulated, the cost is a ratio of two noises, and the margin for their values is allowed on top.

INT8. The graph says exactly what is rounded. It is run as written, every Q/DQ on its own and the rest in
float32, which gives the noise that quantisation has on these images; an engine, which sums and rounds in
another order, has much of the same noise, and may have more by the same margin for the values of all images.

Whatever the precision, a graph whose noise is above `FLOOR_DB`, a tenth of the signal's power, is another
function and no rounding: the export stops there. No tolerance is tighter than that of FP32.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from exporter.checks.golden import named_outputs, run_original
from exporter.checks.rounding_noise import FLOAT32_UNIT_ROUNDOFF
from exporter.checks.step_check import Check, Tolerance
from runtime.bundle.manifest import Preprocessing
from runtime.bundle.node_costs import reduction_length
from runtime.original.network import share_tensors, wrap
from runtime.support.arrays import Floats, Pixels
from runtime.support.paired_statistics import sqnr_db

if TYPE_CHECKING:
    import torch

FP16_UNIT_ROUNDOFF = 2.0**-11
MARGIN_DB = 3.0
ACCUMULATION_DB = 6.0
FLOOR_DB = 10.0
# The exponent of a probability: e^-10 is one in 20,000.
_UNLIKELY = 10.0
# So many standard deviations: of 30,000 exports of right graphs one is refused for its noise alone.
_DEVIATIONS = 4.0


def fp32_required_db(model: ir.Model) -> float:
    """Return the least SQNR of a float32 graph's outputs where no sum cancels, decibels."""
    products = sum(reduction_length(node) for node in model.graph)
    return -20 * math.log10(FLOAT32_UNIT_ROUNDOFF * math.sqrt(products))


def fp32_tolerance(model: ir.Model, references: Mapping[str, Floats], rounding_db: Mapping[str, float]) -> Tolerance:
    """Return what a float32 graph must reach.

    Args:
        model: The graph.
        references: Output name to PyTorch's values, (N, D) float32.
        rounding_db: Output name to the SQNR that rounding alone leaves (`RoundingNoise.measure`), decibels.
    """
    most = fp32_required_db(model)
    found = {name: min(most, rounding_db[name] - excess_db(_independent(references, name))) for name in references}
    return {name: max(required, FLOOR_DB) for name, required in found.items()}


def _independent(references: Mapping[str, Floats], name: str) -> int:
    """Return how many values of an output are independent on one image: all logits are sums of the embedding."""
    own, summed = references[name], references.get("embedding", references[name])
    return min(int(own.shape[1]), int(summed.shape[1]))


def excess_db(values: int) -> float:
    """Return by how much the power of a noise may be above its mean, decibels.

    Args:
        values: How many independent values an output has.

    Source: Laurent and Massart 2000, "Adaptive estimation of a quadratic functional by model selection", lemma 1: a
    chi-squared variable of n degrees is above n + 2 sqrt(n t) + 2 t with a probability of e^-t at most.
    """
    return 10 * math.log10(1 + 2 * math.sqrt(_UNLIKELY / values) + 2 * _UNLIKELY / values)


def margin_db(values: int) -> float:
    """Return by how much the powers of two noises of one origin may differ, decibels.

    The power of n random values varies: the logarithm of the ratio of two such powers has the variance 4 / n, for
    large n. From 135 values on, four standard deviations are less than a factor of two.

    Args:
        values: How many values an output has that are independent.

    Source: Bartlett and Kendall 1946, "The statistical analysis of variance-heterogeneity and the logarithmic
    transformation": the variance of the logarithm of a sample variance is 2 / n.
    """
    return max(MARGIN_DB, 10 / math.log(10) * _DEVIATIONS * 2 / math.sqrt(values))


def fp16_tolerance(
    references: Mapping[str, Floats], fp16: Mapping[str, Floats], *, fp32: Tolerance, allowed_db: float = 0.0
) -> Tolerance:
    """Return what an FP16 graph must reach.

    Args:
        references: Output name to FP32 values, (N, D) float32.
        fp16: The same of the network as PyTorch runs it in FP16, or of `emulate_fp16`, finite.
        fp32: Tolerance of the float32 graph.
        allowed_db: How much is allowed on top, decibels: `ACCUMULATION_DB` for the emulation.
    """
    once = -20 * math.log10(FP16_UNIT_ROUNDOFF)
    found = {
        name: min(
            once, fp32[name], sqnr_db(reference, fp16[name]) - allowed_db - margin_db(_independent(references, name))
        )
        for name, reference in references.items()
    }
    return {name: max(required, FLOOR_DB) for name, required in found.items()}


def fp16_sums_tolerance(
    fp16: Tolerance, lost_db: Mapping[str, float], references: Mapping[str, Floats], *, images: int
) -> Tolerance:
    """Return what an FP16 graph must reach in an engine that adds up in FP16.

    Args:
        fp16: Tolerance of the graph where sums are FP32.
        lost_db: Output name to what FP16 sums cost, decibels.
        references: Output name to FP32 values, (N, D) float32.
        images: Number of the N images of which the cost is known.
    """
    found = {}
    for name, lost in lost_db.items():
        values = images * _independent(references, name)
        unknown = margin_db(values) if images < len(references[name]) else 0.0
        found[name] = max(fp16[name] - lost - unknown, FLOOR_DB)
    return found


def int8_tolerance(as_written: Check, references: Mapping[str, Floats], *, fp32: Tolerance) -> Tolerance:
    """Return what an INT8 graph must reach in an engine, from the graph run as written.

    Args:
        as_written: How near the graph as written is.
        references: Output name to FP32 values, (N, D) float32.
        fp32: Tolerance of the float32 graph.
    """
    found = {
        name: min(fp32[name], reached - margin_db(len(references[name]) * _independent(references, name)))
        for name, reached in as_written.reached.items()
    }
    # The graph as written is above the floor, and an engine may be the margin of many values below it.
    return {name: max(required, FLOOR_DB - MARGIN_DB) for name, required in found.items()}


def floor_tolerance(fp32: Tolerance) -> Tolerance:
    """Return what a graph must reach that is judged by nothing but being the same function.

    Args:
        fp32: Tolerance of the float32 graph.
    """
    return dict.fromkeys(fp32, FLOOR_DB)


def has_grouped_convolutions(network: "torch.nn.Module") -> bool:
    """Return whether PyTorch's FP16 would be unbearably slow on a CPU."""
    return any(getattr(module, "groups", 1) > 1 for module in network.modules())


def emulate_fp16(network: "torch.nn.Module", preprocessing: Preprocessing, pixels: Pixels) -> dict[str, Floats]:
    """Return the outputs, (N, D) float32 by name, with weights and module outputs rounded to FP16 wherever they fit.

    Args:
        network: timm's network in float32; a copy is rounded, so that other threads may use it.
        preprocessing: Preprocessing of the wrapper around the network.
        pixels: (N, H, W, C) uint8.
    """
    import torch

    def rounded(tensor: torch.Tensor) -> torch.Tensor:
        fp16 = tensor.half().float()
        return torch.where(torch.isfinite(fp16), fp16, tensor)

    def put(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            setattr(module, name, torch.nn.Parameter(tensor, requires_grad=False))

    def round_output(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        return rounded(output) if isinstance(output, torch.Tensor) else output

    emulated = share_tensors(network)
    for module in emulated.modules():
        own = {name: parameter.data for name, parameter in module.named_parameters(recurse=False)}
        if own:
            # A module's rounded weights are there while it runs, and no longer: all together are a second network.
            module.register_forward_pre_hook(
                lambda module, _inputs, own=own: put(module, {name: rounded(one) for name, one in own.items()})
            )
            module.register_forward_hook(lambda module, _inputs, _output, own=own: put(module, own))
        if not list(module.children()):
            module.register_forward_hook(round_output)
    return named_outputs(*run_original(wrap(emulated, preprocessing, input_kind="uint8"), pixels))
