"""Qualcomm's AIMET for ONNX. A recipe ends with a range: min_max, tf_enhanced or percentile.

Before it, each optional: `cle`, cross-layer equalisation; `seq_mse`, weight ranges layer by layer by the output's
error; `adaround`, rounding that is trained layer by layer.
"""

import numpy as np
import onnx
import torch
from aimet_onnx import QuantizationSimModel, apply_adaround, apply_seq_mse
from aimet_onnx.common.defs import QuantScheme
from aimet_onnx.cross_layer_equalization import equalize_model

from benchmarks.int8.peer_task import Task
from benchmarks.int8.peer_tools.feeding import Floats, feeds, input_name

# AIMET recommends 10,000 for 8 bits; 1,000 take from some minutes to an hour here.
ITERATIONS = 1000
# Its scheme `percentile` stands at 100, the largest value, and nothing public sets another. 99.99 is what most take.
PERCENTILE = 99.99
# AdaRound draws 32 of each batch for a step.
BATCH = 32


def quantize(task: Task, images: Floats) -> None:
    """Write Q/DQ, as `to_onnx_qdq` exports it, weights INT8."""
    torch.manual_seed(0)
    np.random.seed(0)
    *steps, ranges = task.steps
    model = onnx.load(task.model)
    if "cle" in steps:
        equalize_model(model)
    scheme = QuantScheme.from_str(ranges)
    # SeqMSE takes no other scheme for weights.
    sim = QuantizationSimModel(model, quant_scheme=QuantScheme.min_max if "seq_mse" in steps else scheme)
    inputs = feeds(input_name(task.model), images, size=BATCH)
    _place(sim, task)
    if ranges == "percentile":
        for name in sim.activation_names:
            sim.qc_quantize_op_dict[name]._tensor_quantizer.setPercentileValue(PERCENTILE)
    if "seq_mse" in steps:
        # It fails at a weight that is not quantised.
        weighted = {node.name for node in sim.model.nodes() if node.op_type in ("Conv", "Gemm", "MatMul")}
        excluded = [] if task.placement == "own" else sorted(weighted - set(task.layers))
        apply_seq_mse(sim, inputs, nodes_to_exclude=excluded)
        for name in sim.param_names:
            sim.qc_quantize_op_dict[name].freeze_encodings()
        for name in sim.activation_names:
            sim.qc_quantize_op_dict[name].set_quant_scheme(scheme)
    if "adaround" in steps:
        apply_adaround(sim, inputs, num_iterations=ITERATIONS)
    sim.compute_encodings(inputs)
    written = sim.to_onnx_qdq(prequantize_constants=True, force_activation_as=task.kind)
    onnx.save(written, task.output)


def _place(sim: QuantizationSimModel, task: Task) -> None:
    """Switch on what is to be quantised; with its own placement only the kind is set."""
    quantizers = sim.qc_quantize_op_dict
    if task.placement != "own":
        missing = set(task.tensors) - quantizers.keys()
        if missing:
            raise ValueError(f"AIMET has no quantiser at {sorted(missing)[0]}: expected one at every tensor of ours")
        weights = {node.input[1] for node in sim.model.nodes() if node.name in task.layers}
        for name in sim.activation_names:
            quantizers[name].enabled = name in task.tensors
        for name in sim.param_names:
            quantizers[name].enabled = any(name in weight for weight in weights)
    for name in sim.activation_names:
        quantizers[name].use_symmetric_encodings = task.kind == "signed"
