"""The libraries' words for types: the tables hold what the libraries themselves say."""

import openvino
import pytest

from runtime.engines.precisions import ONNXRUNTIME, OPENVINO, OPENVINO_HINTS, compute_type, tensor_type


@pytest.mark.parametrize(("word", "size"), [("f32", 4), ("f16", 2), ("bf16", 2), ("i8", 1), ("u8", 1)])
def test_openvinos_words_are_its_own(word: str, size: int) -> None:
    assert getattr(openvino.Type, word).get_size() == size
    assert word in OPENVINO


def test_hints_are_the_words_of_what_they_ask_for() -> None:
    assert {OPENVINO[word]: word for word in OPENVINO_HINTS.values()} == OPENVINO_HINTS


@pytest.mark.parametrize(
    ("words", "word", "tensor", "compute"),
    [
        (OPENVINO, "f32", "fp32", "fp32"),
        (OPENVINO, "bf16", "bf16", "bf16"),
        (OPENVINO, "i8", "int8", "int8"),
        (OPENVINO, "u8", "uint8", "int8"),
        (OPENVINO, "i32", "i32", "i32"),
        (ONNXRUNTIME, "float", "fp32", "fp32"),
        (ONNXRUNTIME, "float16", "fp16", "fp16"),
        (ONNXRUNTIME, "bfloat16", "bf16", "bf16"),
        (ONNXRUNTIME, "int8", "int8", "int8"),
        (ONNXRUNTIME, "uint8", "uint8", "int8"),
        (ONNXRUNTIME, "unknown", "unknown", "unknown"),
    ],
)
def test_unsigned_bytes_are_int8_in_a_product_and_pixels_elsewhere(
    words: dict[str, str], word: str, tensor: str, compute: str
) -> None:
    assert (tensor_type(words, word), compute_type(words, word)) == (tensor, compute)
