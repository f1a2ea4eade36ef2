"""Brevitas, which takes PyTorch. A recipe ends with `percentile`, its range for activations.

Before it, each optional: `gptq`, its GPTQ on quantised activations; `bias_correction`. All with its graph equalisation,
20 rounds, as its own examples do.
"""

from collections.abc import Mapping
from functools import partial

import onnx
import torch
from brevitas import config
from brevitas.export import export_onnx_qcdq
from brevitas.graph.base import ModuleToModuleByInstance
from brevitas.graph.quantize import preprocess_for_quantize
from brevitas_examples.imagenet_classification.ptq import ptq_common

from benchmarks.int8.peer_task import Task
from benchmarks.int8.peer_tools.feeding import Floats, batches
from benchmarks.int8.peer_tools.original import load_original

BATCH = 16
OPSET = 20
# The default of its example.
PERCENTILE = 99.999


def quantize(task: Task, images: Floats) -> None:
    """Write Q/DQ: quantize, clip, dequantize."""
    torch.manual_seed(0)
    network = preprocess_for_quantize(load_original(task, images), equalize_iters=20)
    loader = [(torch.from_numpy(batch), None) for batch in batches(images, size=BATCH)]
    kind = "sym" if task.kind == "signed" else "asym"
    common = {
        "weight_bit_width": 8,
        "act_bit_width": 8,
        "bias_bit_width": None,
        "weight_quant_granularity": "per_channel",
        "act_quant_percentile": PERCENTILE,
        "act_quant_type": kind,
        # Signed is what TensorRT takes: of what cannot be negative too.
        "uint_sym_act_for_unsigned_values": False,
    }
    if task.placement == "own":
        network = ptq_common.quantize_model(
            network, backend="fx", scale_factor_type="float_scale", quant_format="int", **common
        )
    else:
        network = _place(network, task, common)
    ptq_common.calibrate(loader, network)
    with torch.no_grad():
        # The scales of weights exist from the first run on.
        network(loader[0][0])
    if "gptq" in task.steps:
        ptq_common.apply_gptq(loader, network, act_order=True, use_quant_activations=True)
    if "bias_correction" in task.steps:
        ptq_common.apply_bias_correction(loader, network)
    export_onnx_qcdq(
        network,
        args=torch.from_numpy(images[:2]),
        export_path=str(task.output),
        opset_version=OPSET,
        input_names=["pixels"],
        output_names=["logits"],
        dynamic_axes={"pixels": {0: "batch"}, "logits": {0: "batch"}},
        dynamo=False,
    )


def _place(network: torch.fx.GraphModule, task: Task, common: Mapping[str, object]) -> torch.fx.GraphModule:
    """Return the network with quantised weights and activations exactly where the task wants them.

    The ONNX file's nodes are named as PyTorch's modules.
    """
    maps = ptq_common.create_quant_maps(
        dtype=torch.float32,
        weight_param_method="stats",
        weight_scale_type="float_scale",
        weight_quant_type="sym",
        weight_narrow_range=False,
        weight_quant_format="int",
        act_quant_format="int",
        act_scale_type="float_scale",
        act_scale_computation_type="static",
        act_param_method="stats",
        act_quant_granularity="per_tensor",
        **common,
    )
    convolution, options = maps[0][torch.nn.Conv2d]
    identity, identity_options = maps[3]["signed"]
    # The quantisers' own parameters come with calibration.
    config.IGNORE_MISSING_KEYS = True
    for name in task.layers:
        network = ModuleToModuleByInstance(network.get_submodule(name), convolution, **options).apply(network)
    produced = {output: node.name for node in onnx.load(task.model).graph.node for output in node.output}
    nodes = {str(node.target): node for node in network.graph.nodes if node.op == "call_module"}
    image = next(node for node in network.graph.nodes if node.op == "placeholder")
    for index, tensor in enumerate(task.tensors):
        node = nodes[produced[tensor]] if tensor in produced else image
        network.add_module(f"quantized_{index}", identity(**{**identity_options, "return_quant_tensor": False}))
        with network.graph.inserting_after(node):
            new = network.graph.call_module(f"quantized_{index}", (node,))
        node.replace_all_uses_with(new, delete_user_cb=partial(_is_not, new))
    network.recompile()
    return network


def _is_not(new: torch.fx.Node, user: torch.fx.Node) -> bool:
    return user is not new
