"""Which GPUs a plan of TensorRT for RTX is for, as it is typed."""

import json

import pytest

from runtime.engines.trt.capabilities import CAPABILITIES, describe_capabilities, parse_capabilities
from runtime.errors import UsageError
from tests.helpers.paths import ROOT


def test_the_capabilities_are_those_of_nvidias_own_bindings() -> None:
    interface = json.loads((ROOT / "tests/tensorrt_bindings/interfaces/rtx-1.7.json").read_text(encoding="utf-8"))
    members = {name for name in interface["enums"]["ComputeCapability"] if name.startswith("SM")}
    assert {f"SM{one.replace('.', '')}" for one in CAPABILITIES} == members


@pytest.mark.parametrize(
    ("gpus", "capabilities", "expected"),
    [
        ("", "", ()),
        ("ampere", "", ("8.0", "8.6")),
        ("ada,turing", "", ("7.5", "8.9")),
        ("Blackwell, Ada", "", ("8.9", "12.0", "12.1")),
        ("", "86", ("8.6",)),
        ("", "120,89,86", ("8.6", "8.9", "12.0")),
        ("", "8.6, 12.0", ("8.6", "12.0")),
        ("", "86,8.6", ("8.6",)),
    ],
)
def test_generations_and_capabilities_are_read_lowest_first(
    gpus: str, capabilities: str, expected: tuple[str, ...]
) -> None:
    assert parse_capabilities(gpus, capabilities) == expected


@pytest.mark.parametrize("text", ["hopper", "ampere,", "rtx4090", "89", ","])
def test_what_is_no_generation_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="expected some of turing, ampere, ada, blackwell, comma-separated"):
        parse_capabilities(text, "")


@pytest.mark.parametrize("text", ["999", "8", "85", "ada", "86,", "8.6.1", "-86", "٨٦"])
def test_what_is_no_capability_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="TensorRT for RTX has 75, 80, 86, 89, 120, 121, comma-separated"):
        parse_capabilities("", text)


@pytest.mark.parametrize(("text", "gpu"), [("87", "Jetson Orin"), ("90", "H100"), ("86,9.0", "H100"), ("100", "B200")])
def test_gpus_of_boards_and_servers_are_sent_to_tensorrt(text: str, gpu: str) -> None:
    with pytest.raises(UsageError, match=f"{gpu}.* TensorRT for RTX does not support: build with TensorRT on that"):
        parse_capabilities("", text)


def test_both_ways_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="give one of them"):
        parse_capabilities("ada", "89")


@pytest.mark.parametrize(
    ("capabilities", "words"),
    [
        ((), "Ampere and later RTX GPUs"),
        (("8.9",), "Ada (compute capability 8.9)"),
        (("7.5", "8.0", "8.6"), "Turing, Ampere (compute capabilities 7.5, 8.0, 8.6)"),
    ],
)
def test_gpus_are_told_in_words(capabilities: tuple[str, ...], words: str) -> None:
    assert describe_capabilities(capabilities) == words
