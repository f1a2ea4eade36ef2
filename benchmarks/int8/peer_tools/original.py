"""The PyTorch network behind an ONNX file, for tools that take PyTorch."""

import numpy as np
import onnxruntime
import timm
import torch
from timm.models import load_state_dict

from benchmarks.int8.peer_task import Task
from benchmarks.int8.peer_tools.feeding import Floats, input_name

# The ONNX file was checked against PyTorch when it was exported; this only tells another network apart.
_TOLERANCE = 1e-3


def load_original(task: Task, images: Floats) -> torch.nn.Module:
    """Return the network, whose logits are those of the ONNX file.

    Raises:
        ValueError: There is none, or its logits differ.
    """
    if task.original is None:
        raise ValueError("the task names no PyTorch network: this tool takes no ONNX")
    state = load_state_dict(task.original.checkpoint)
    classes = len(state["fc.weight"])
    network: torch.nn.Module = timm.create_model(task.original.architecture, pretrained=False, num_classes=classes)
    network.load_state_dict(state)
    network.eval()
    session = onnxruntime.InferenceSession(str(task.model))
    wanted = session.run(["logits"], {input_name(task.model): images[:4]})[0]
    with torch.no_grad():
        got = network(torch.from_numpy(images[:4])).numpy()
    if not np.allclose(got, wanted, atol=_TOLERANCE * float(np.abs(wanted).max())):
        raise ValueError(f"{task.original.architecture} with {task.original.checkpoint} has other logits than the ONNX")
    return network
