"""Small FP16 graphs, and what onnxruntime gave for them on ARM: numbers that no code of this project made.

Recorded with onnxruntime 1.32.0's aarch64 wheel under QEMU 7.2 as a Cortex-A76, whose FP16 arithmetic is exact.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def _spread(count: int, step: float, shift: float) -> np.ndarray:
    """Return numbers in [-1, 1) without a pattern that a sum would follow, the same in every NumPy."""
    return (np.mod(np.arange(count, dtype=np.float64) * step + shift, 1.0) * 2 - 1).astype(np.float16)


# Name to the node, the input's shape, and the weight's; biases have the weight's outputs.
GRAPHS: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "pointwise": ({"op_type": "Conv"}, (1, 64, 2, 2), (8, 64, 1, 1)),
    "padded": ({"op_type": "Conv", "pads": [1, 1, 1, 1]}, (1, 32, 3, 3), (8, 32, 3, 3)),
    "strided": ({"op_type": "Conv", "pads": [3, 3, 3, 3], "strides": [2, 2]}, (1, 3, 6, 6), (8, 3, 7, 7)),
    "grouped": ({"op_type": "Conv", "group": 4, "pads": [1, 1, 1, 1]}, (1, 16, 3, 3), (8, 4, 3, 3)),
    "long": ({"op_type": "Conv"}, (1, 512, 3, 3), (8, 512, 3, 3)),
    "transposed": ({"op_type": "Gemm", "transB": 1}, (2, 512), (8, 512)),
    "plain": ({"op_type": "Gemm"}, (2, 512), (512, 8)),
    "longer": ({"op_type": "Gemm", "transB": 1}, (1, 2048), (8, 2048)),
    "pool": ({"op_type": "GlobalAveragePool"}, (1, 8, 7, 7), ()),
}


def make_fp16_graph(name: str) -> tuple[onnx.ModelProto, np.ndarray]:
    """Return a graph of one FP16 node, and its input."""
    node, shape, weight = GRAPHS[name]
    x = np.abs(_spread(int(np.prod(shape)), 0.6180339887, 0.3)).reshape(shape).astype(np.float16)
    constants: Mapping[str, np.ndarray] = {}
    if weight:
        outputs = weight[1] if name == "plain" else weight[0]
        constants = {
            "w": _spread(int(np.prod(weight)), 0.7548776662, 0.1).reshape(weight),
            "b": _spread(outputs, 0.5698402910, 0.2),
        }
    made = helper.make_node(inputs=["x", *constants], outputs=["y"], name=name, **node)
    rank = 4 if node["op_type"] != "Gemm" else 2
    graph = helper.make_graph(
        [made],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [None] * rank)],
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), x


# Outputs as FP16 bit patterns, hexadecimal, in C order; the first ones of the larger outputs.
RECORDED = {
    "grouped": "3a9a b759 333d 3a89 39df b728 bb0e 3e2a b030 322f 3bca 380c 35e7 b13f 38b4 39dd b666 366b bf9b bc6f"
    " bb4e a780 b795 b68a 3f2a bf20 b6a3 33e9 3ea2 3c0a 39cc 39b0",
    "long": "43e4 4546 3d91 ac54 c2c1 c5ad b672 400f",
    "longer": "46c0 bdc2 c571 46ec 420d c5d7 3c57 4544",
    "padded": "be2f 3bf3 b9dc 3ca5 4227 adf0 4141 3d73 3e17 bddd bc90 3aed c26b bb81 bd8a b904 3c69 be8c 3974 be65"
    " 3879 c216 3fe7 bd16 c272 3f37 ba2e 3e6b 4028 39c0 40fb 4122",
    "plain": "ba9c b906 37dd 3cb8 b2c2 bfc3 3b9b bc00 b791 b0ce 38b0 3a2d 3049 be64 3cc8 3845",
    "pointwise": "ae59 b4d2 b72c b1fc 42fa 3c09 3c2c 4332 3bd1 bd6a 39f4 2dda 3772 be6e 400a bd8b 235a 26aa 3145 2e00"
    " c084 b553 356f c15b bbf9 3e1e ae7a b4f2 be29 b514 c2f0 30c5",
    "pool": "380a 37ea 37ee 380e 37fd 37e7 380b 380a",
    "strided": "b8f7 bbfe 1daa bc19 be91 40af 3d98 448f 3d08 3edb 3bbd 40ec be3f 40e1 4328 4072 42f6 aaed 4280 437f"
    " 3dd3 37dd 3394 3d05 b935 b56e c2c4 4248 4259 406b 38f2 b784",
    "transposed": "3e4e b94d 3f4a bd20 3f75 c1d6 3910 3500 c1c8 4339 c2ea 41b5 be1a bb01 3d87 c13d",
}


def recorded(name: str) -> np.ndarray:
    """Return what was recorded, (N,) float16; the first values of a larger output."""
    return np.array([int(word, 16) for word in RECORDED[name].split()], np.uint16).view(np.float16)
