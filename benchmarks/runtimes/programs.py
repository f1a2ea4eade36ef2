"""The programs, and the lines with which each runs a bundle's `model.onnx`.

The lines of a program in Python find `pixels`, the input of N images as the bundle's manifest describes it, and
`model.onnx` in the current folder; they make `logits` (N, classes) and `embedding` (N, D). Those of onnxruntime-web are
a module of Node.js that finds `pixels` and `shape`, and makes `outputs`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program that reads ONNX.

    Attributes:
        name: What it is called.
        pins: The distributions that it is tried with, with their versions; the first is its own.
        lines: What runs a bundle.
        node: Whether the lines are JavaScript, and the distributions npm's.
        one_by_one: Whether it takes one image at a time.
    """

    name: str
    pins: tuple[str, ...]
    lines: str
    node: bool = False
    one_by_one: bool = False

    @property
    def version(self) -> str:
        """Version of the program's own distribution."""
        return self.pins[0].replace("@", "==").rpartition("==")[2]


# The newest of each in November 2026.
PROGRAMS = (
    Program(
        "onnxruntime",
        ("onnxruntime==1.32.0", "numpy==2.4.6"),
        """\
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
logits, embedding = session.run(["logits", "embedding"], {session.get_inputs()[0].name: pixels})""",
    ),
    Program(
        "OpenVINO",
        ("openvino==2026.4.1", "numpy==2.4.6"),
        """\
import openvino

hint = {"INFERENCE_PRECISION_HINT": "f32"}  # else bfloat16 on CPUs that have it
compiled = openvino.Core().compile_model("model.onnx", "CPU", hint)
results = compiled(pixels)
logits, embedding = results["logits"], results["embedding"]""",
    ),
    Program(
        "OpenCV",
        ("opencv-python-headless==5.0.0.93", "numpy==2.4.6"),
        """\
import cv2

net = cv2.dnn.readNetFromONNX("model.onnx")
net.setInput(pixels)
logits, embedding = net.forward(["logits", "embedding"])""",
    ),
    Program(
        "onnxruntime-web",
        ("onnxruntime-web@1.30.0",),
        """\
import * as ort from "onnxruntime-web";

const session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
const type = pixels instanceof Uint8Array ? "uint8" : "float32";
const outputs = await session.run({ [session.inputNames[0]]: new ort.Tensor(type, pixels, shape) });""",
        node=True,
    ),
    Program(
        "tract",
        ("tract==0.23.9", "numpy==2.4.6"),
        """\
import tract

network = tract.onnx().load("model.onnx").into_model().into_runnable()
logits, embedding = (output.to_numpy() for output in network.run([pixels]))""",
    ),
    Program(
        "MNN",
        ("MNN==3.6.1", "numpy==2.4.6"),
        """\
import subprocess
import numpy as np
import MNN.expr as expr
import MNN.nn as nn

name, kind = ("pixels", expr.uint8) if pixels.dtype == np.uint8 else ("input", expr.float)
convert = ["mnnconvert", "-f", "ONNX", "--modelFile", "model.onnx", "--MNNModel", "model.mnn", "--bizCode", "resnet"]
subprocess.run(convert, check=True)
network = nn.load_module_from_file("model.mnn", [name], ["logits", "embedding"])
data = pixels.tobytes() if kind == expr.uint8 else pixels
logits, embedding = (output.read() for output in network.forward([expr.const(data, pixels.shape, expr.NCHW, kind)]))""",
    ),
    Program(
        "ncnn",
        ("ncnn==1.0.20261020", "pnnx==20261020", "numpy==2.4.6"),
        """\
import subprocess
import ncnn
import numpy as np

shape, kind = ",".join(map(str, pixels.shape)), "u8" if pixels.dtype == np.uint8 else "f32"
subprocess.run(["pnnx", "model.onnx", f"inputshape=[{shape}]{kind}", "fp16=0"], check=True)
network = ncnn.Net()
network.opt.use_fp16_storage = network.opt.use_fp16_packed = network.opt.use_fp16_arithmetic = False
if network.load_param("model.ncnn.param") or network.load_model("model.ncnn.bin"):
    raise RuntimeError("ncnn cannot load what pnnx wrote")
extractor = network.create_extractor()
extractor.input("in0", ncnn.Mat(np.ascontiguousarray(pixels[0], np.float32)).clone())
logits, embedding = (np.array(extractor.extract(name)[1])[None] for name in ("out0", "out1"))""",
        one_by_one=True,
    ),
    Program(
        "IREE",
        ("iree-base-compiler==3.13.0", "iree-base-runtime==3.13.0", "onnx==1.23.2", "numpy==2.4.6"),
        """\
import subprocess
import iree.runtime

subprocess.run(["iree-import-onnx", "model.onnx", "-o", "model.mlir"], check=True)
target = ["--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host"]
subprocess.run(["iree-compile", "model.mlir", *target, "-o", "model.vmfb"], check=True)
module = iree.runtime.load_vm_flatbuffer_file("model.vmfb", driver="local-task")
logits, embedding = (output.to_host() for output in module["resnet"](pixels))""",
    ),
    Program(
        "tinygrad",
        ("tinygrad==0.14.0", "numpy==2.4.6"),
        """\
from tinygrad import Tensor
from tinygrad.nn.onnx import OnnxRunner

network = OnnxRunner("model.onnx")
outputs = network({next(iter(network.graph_inputs)): Tensor(pixels)})
logits, embedding = outputs["logits"].numpy(), outputs["embedding"].numpy()""",
    ),
    Program(
        "onnx2torch",
        ("onnx2torch==1.5.15", "torch==2.15.0", "numpy==2.4.6"),
        """\
import onnx2torch
import torch

network = onnx2torch.convert("model.onnx").eval()
with torch.inference_mode():
    logits, embedding = (output.numpy() for output in network(torch.from_numpy(pixels)))""",
    ),
)
