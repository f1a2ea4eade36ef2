"""How far an exported graph may be from the PyTorch original: derived, not chosen.

FP32. An inner product of K float32 terms, summed in another order, differs by about u sqrt(K)
relative to its size, u = 2^-24. The errors of the layers are independent and add in power, so the
outputs may differ by u sqrt(sum of K over all convolutions and the classifier); the tolerance is that
as an SQNR: about 99.5 dB for a ResNet-18. (128 dB is what is measured; a wrong mean, a wrong filter
or bf16 execution lands below 60 dB.)
Source: Higham and Mary 2019, "A new approach to probabilistic rounding error analysis", theorem 2.4.

FP16. The reference is the same network as PyTorch runs it in FP16: its own SQNR against FP32 is the
rounding noise that this network has in FP16. Another order of the same roundings has noise of the same
power; 3 dB, a factor of two in power, is what two such noises may differ by.
Where PyTorch's FP16 overflows, or has grouped convolutions (which CPUs without FP16 arithmetic take
seconds for), the noise is measured on the FP32 network instead, with weights and module outputs rounded
to FP16 one by one, except those that overflow. That leaves out the roundings inside a sum, which cost
less than 6 dB, one bit: so much is allowed for them (docs/explanation/decisions.md).

INT8. The graph says exactly what is rounded. It is run as written, every Q/DQ on its own and the rest in
float32, which gives the noise that quantisation has on these images; an engine, which sums and rounds in
another order, may have 3 dB more, as for FP16. Where that noise itself is above `INT8_FLOOR_DB`, a tenth
of the signal's power, the export stops: that is another function, not rounding.
"""

import math
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from exporter.checks.golden import run_original
from exporter.checks.step_check import Check
from exporter.passes.count_layers import reduction_length
from runtime.bundle.manifest import Preprocessing
from runtime.original.network import wrap
from runtime.support.arrays import Floats, Pixels
from runtime.support.paired_statistics import sqnr_db

if TYPE_CHECKING:
    import torch

FLOAT32_UNIT_ROUNDOFF = 2.0**-24
FP16_MARGIN_DB = 3.0
ACCUMULATION_DB = 6.0
INT8_MARGIN_DB = 3.0
INT8_FLOOR_DB = 10.0


def fp32_required_db(model: ir.Model) -> float:
    """Return the least SQNR of a float32 graph's outputs against PyTorch, decibels."""
    products = sum(reduction_length(node) for node in model.graph)
    return -20 * math.log10(FLOAT32_UNIT_ROUNDOFF * math.sqrt(products))


def fp16_required_db(reference: Floats, original_fp16: Floats) -> float:
    """Return the least SQNR of an FP16 graph's outputs, decibels.

    Args:
        reference: What accuracy depends on in FP32: the logits (N, classes), or without a classifier the embeddings.
        original_fp16: The same of the network that PyTorch runs in FP16, float32, finite.
    """
    return sqnr_db(reference, original_fp16) - FP16_MARGIN_DB


def emulated_required_db(reference: Floats, emulated: Floats) -> float:
    """Return the least SQNR of an FP16 graph's outputs from `emulate_fp16`'s, decibels."""
    return sqnr_db(reference, emulated) - FP16_MARGIN_DB - ACCUMULATION_DB


def int8_required_db(as_written: Check) -> float:
    """Return the least SQNR of an INT8 graph in an engine, decibels, from the graph run as written."""
    return round(as_written.worst_db - INT8_MARGIN_DB, 2)


def has_grouped_convolutions(network: "torch.nn.Module") -> bool:
    """Return whether PyTorch's FP16 would be unbearably slow on a CPU."""
    return any(getattr(module, "groups", 1) > 1 for module in network.modules())


def emulate_fp16(network: "torch.nn.Module", preprocessing: Preprocessing, pixels: Pixels) -> Floats:
    """Return the judged output with weights and module outputs rounded to FP16 wherever they fit.

    It is the logits, (N, classes) float32, or without a classifier the embeddings.

    Args:
        network: timm's network in float32; a copy is rounded, so that other threads may use it.
        preprocessing: Preprocessing of the wrapper around the network.
        pixels: (N, H, W, 3) uint8.
    """
    import copy

    import torch

    def rounded(tensor: torch.Tensor) -> torch.Tensor:
        fp16 = tensor.half().float()
        return torch.where(torch.isfinite(fp16), fp16, tensor)

    def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        return rounded(output) if isinstance(output, torch.Tensor) else output

    emulated = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in emulated.parameters():
            parameter.copy_(rounded(parameter))
        for module in emulated.modules():
            if not list(module.children()):
                module.register_forward_hook(hook)
    return run_original(wrap(emulated, preprocessing, input_kind="uint8"), pixels).judged
