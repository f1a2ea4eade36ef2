"""Each library's words for the type of a tensor, and ours."""

from collections.abc import Mapping

from runtime.engines.contract import ExecutionPrecision

# In onnxruntime's profile.
ONNXRUNTIME = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16"}
# In OpenVINO's runtime graph, and in the one that its benchmark_app writes.
OPENVINO = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "uint8"}

# The precision it is set to compute in.
OPENVINO_HINTS: dict[ExecutionPrecision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def tensor_type(words: Mapping[str, str], word: str) -> str:
    """Return our word for the type of a tensor; the library's own where there is none.

    Args:
        words: A library's.
        word: One of its words.
    """
    return words.get(word, word)


def compute_type(words: Mapping[str, str], word: str) -> str:
    """Return our word for what a convolution or a matrix product computes in, by the type of its first input.

    Products of unsigned and of signed bytes are the same arithmetic. Elsewhere unsigned bytes are pixels, and what
    moves them is no INT8 arithmetic: `tensor_type`.

    Args:
        words: A library's.
        word: One of its words.
    """
    ours = tensor_type(words, word)
    return "int8" if ours == "uint8" else ours
