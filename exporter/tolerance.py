"""How far an exported graph may be from the PyTorch original: derived, not chosen.

FP32. An inner product of K float32 terms, summed in another order, differs by about u sqrt(K)
relative to its size, u = 2^-24. The errors of the layers are independent and add in power, so the
logits may differ by u sqrt(sum of K over all convolutions and the classifier); the tolerance is that
as an SQNR: about 99.5 dB for a ResNet-18. (128 dB is what is measured; a wrong mean, a wrong filter
or bf16 execution lands below 60 dB.)
Source: Higham and Mary 2019, "A new approach to probabilistic rounding error analysis", theorem 2.4.

FP16. The reference is the same network as PyTorch runs it in half precision: its own SQNR against
FP32 is the rounding noise that this network has in FP16. Another order of the same roundings has
noise of the same power; 3 dB, a factor of two in power, is what two such noises may differ by.
Where PyTorch's half overflows, the noise is measured by rounding weights and module outputs to FP16
one by one, except those that overflow.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from exporter.count_layers import reduction_length
from runtime.engine import Floats
from runtime.paired_statistics import sqnr_db

if TYPE_CHECKING:
    import torch

FLOAT32_UNIT_ROUNDOFF = 2.0**-24
FP16_MARGIN_DB = 3.0


def fp32_required_db(model: ir.Model) -> float:
    """Return the least logits SQNR of a float32 graph against PyTorch, decibels."""
    products = sum(reduction_length(node) for node in model.graph)
    return -20 * math.log10(FLOAT32_UNIT_ROUNDOFF * math.sqrt(products))


def fp16_required_db(reference: Floats, half: Floats) -> float:
    """Return the least logits SQNR of an FP16 graph, decibels.

    Args:
        reference: FP32 logits, (N, classes).
        half: The half-precision network's logits, (N, classes) float32, finite.
    """
    return sqnr_db(reference, half) - FP16_MARGIN_DB


def emulate_half(module: "torch.nn.Module", feed: "torch.Tensor") -> Floats:
    """Return logits with weights and module outputs rounded to FP16 wherever they fit, (N, classes).

    Args:
        module: A wrapped network in float32; its weights are put back.
        feed: Its input.
    """
    import torch

    def rounded(tensor: torch.Tensor) -> torch.Tensor:
        half = tensor.half().float()
        return torch.where(torch.isfinite(half), half, tensor)

    def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        return rounded(output) if isinstance(output, torch.Tensor) else output

    leaves = [child for child in module.modules() if not list(child.children())]
    handles = [leaf.register_forward_hook(hook) for leaf in leaves]
    kept = [(parameter, parameter.detach().clone()) for parameter in module.parameters()]
    try:
        with torch.no_grad():
            for parameter, _ in kept:
                parameter.copy_(rounded(parameter))
            logits, _embedding = module(feed)
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for parameter, original in kept:
                parameter.copy_(original)
    result: Floats = logits.numpy().astype(np.float32)
    return result
