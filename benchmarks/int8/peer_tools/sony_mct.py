"""Sony's model-compression-toolkit, which takes PyTorch. Recipes: mse, its default ranges; gptq+mse, trained rounding.

It exports activations as Q/DQ and weights as float numbers on their grid; `int8_weights` stores those as INT8. Its own
placement is that of its IMX500 capabilities, power-of-two activations included; the others are said to it as
capabilities of a target.
"""

from collections.abc import Iterator
from functools import partial
from unittest import mock

import model_compression_toolkit as mct
import onnx
import torch
from mct_quantizers import PytorchQuantizationWrapper, QuantizationMethod
from model_compression_toolkit.core.common.network_editors.node_filters import NodeNameScopeFilter
from model_compression_toolkit.target_platform_capabilities.constants import BIAS_ATTR, KERNEL_ATTR
from model_compression_toolkit.target_platform_capabilities.schema import mct_current_schema as schema

from benchmarks.int8.peer_task import Task
from benchmarks.int8.peer_tools.feeding import Floats, batches
from benchmarks.int8.peer_tools.int8_weights import store_int8
from benchmarks.int8.peer_tools.original import load_original

# Its examples train for 5 epochs; the step's size suits more.
EPOCHS = 20
BATCH = 16
OPSET = 20


def quantize(task: Task, images: Floats) -> None:
    """Write Q/DQ."""
    torch.manual_seed(0)
    network = load_original(task, images)

    def calibration() -> Iterator[list[Floats]]:
        for batch in batches(images, size=BATCH):
            yield [batch]

    options = {}
    if task.placement != "own":
        options["target_platform_capabilities"] = _capabilities(task)
    core = mct.core.CoreConfig(
        quantization_config=mct.core.QuantizationConfig(
            custom_tpc_opset_to_layer={
                "Float": mct.core.CustomOpsetLayers([torch.nn.AdaptiveAvgPool2d, torch.nn.MaxPool2d, torch.nn.Flatten])
            }
        )
    )
    # Its exporter leaves out what has more than 8 bits.
    for name in _float_outputs(task):
        core.bit_width_config.set_manual_activation_bit_width(NodeNameScopeFilter(name), 16)
    if "gptq" in task.steps:
        training = mct.gptq.get_pytorch_gptq_config(n_epochs=EPOCHS)
        quantized, _ = mct.gptq.pytorch_gradient_post_training_quantization(
            network, calibration, core_config=core, gptq_config=training, **options
        )
    else:
        quantized, _ = mct.ptq.pytorch_post_training_quantization(network, calibration, core_config=core, **options)
    scales = {
        f"{name}.layer.weight": quantizers["weight"].scales.cpu().numpy()
        for name, layer in quantized.named_modules()
        if isinstance(layer, PytorchQuantizationWrapper) and "weight" in (quantizers := layer.weights_quantizers)
    }
    # Its graph takes *args, which the exporter that torch uses by itself since 2.9 refuses; MCT 2.6.1 leaves no choice.
    with mock.patch("torch.onnx.export", partial(torch.onnx.export, dynamo=False)):
        mct.exporter.pytorch_export_model(
            quantized,
            str(task.output),
            calibration,
            quantization_format=mct.exporter.QuantizationFormat.FAKELY_QUANT,
            onnx_opset_version=OPSET,
            output_names=["logits"],
        )
    written = onnx.load(task.output)
    store_int8(written, scales)
    onnx.save(written, task.output)


def _float_outputs(task: Task) -> list[str]:
    """Return MCT's names of the convolutions that lead into an Add and whose output stays float."""
    if task.placement == "own":
        return []
    nodes = onnx.load(task.model).graph.node
    added = {name for node in nodes if node.op_type == "Add" for name in node.input} - set(task.tensors)
    return [node.name.replace(".", "_") for node in nodes if node.op_type == "Conv" and node.output[0] in added]


def _capabilities(task: Task) -> schema.TargetPlatformCapabilities:
    """Return a target that quantises what the task says, for networks of convolutions, ReLU and residual Adds."""
    signed = task.kind == "signed"
    no_weight = schema.AttributeQuantizationConfig(enable_weights_quantization=False)
    kernel = schema.AttributeQuantizationConfig(
        weights_quantization_method=QuantizationMethod.SYMMETRIC,
        weights_n_bits=8,
        weights_per_channel_threshold=True,
        enable_weights_quantization=True,
    )
    base = schema.OpQuantizationConfig(
        default_weight_attr_config=no_weight,
        attr_weights_configs_mapping={},
        activation_quantization_method=QuantizationMethod.SYMMETRIC if signed else QuantizationMethod.UNIFORM,
        activation_n_bits=8,
        supported_input_activation_n_bits=(8, 16),
        enable_activation_quantization=True,
        quantization_preserving=False,
        fixed_scale=None,
        fixed_zero_point=None,
        simd_size=None,
        signedness=schema.Signedness.SIGNED if signed else schema.Signedness.AUTO,
    )
    linear = base.clone_and_edit(attr_weights_configs_mapping={KERNEL_ATTR: kernel, BIAS_ATTR: no_weight})
    floats = base.clone_and_edit(enable_activation_quantization=False)
    classifier = floats.clone_and_edit(attr_weights_configs_mapping={KERNEL_ATTR: no_weight, BIAS_ATTR: no_weight})

    def operators(name: str, *configs: schema.OpQuantizationConfig) -> schema.OperatorsSet:
        options = schema.QuantizationConfigOptions(quantization_configurations=configs, base_config=configs[0])
        return schema.OperatorsSet(name=name, qc_options=options)

    names = schema.OperatorSetNames
    conv = operators(names.CONV, linear, linear.clone_and_edit(activation_n_bits=16))
    relu, add = operators(names.RELU, base), operators(names.ADD, base)
    return schema.TargetPlatformCapabilities(
        default_qco=schema.QuantizationConfigOptions(quantization_configurations=(base,)),
        operator_set=(conv, relu, add, operators(names.FULLY_CONNECTED, classifier), operators("Float", floats)),
        fusing_patterns=tuple(schema.Fusing(operator_groups=(first, relu)) for first in (conv, add)),
        add_metadata=False,
        name=f"{task.kind} {task.placement}",
    )
