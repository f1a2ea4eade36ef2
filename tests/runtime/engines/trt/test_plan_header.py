"""The first bytes of a plan, by NVIDIA's layout written out by hand."""

import json
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.engines.trt.plan_header import read_plan_header
from runtime.engines.trt.versions import Version
from runtime.errors import BundleError

# printPlanVersion in NVIDIA's sampleEngines.cpp reads bytes 0 to 3, 4 to 7 and 24 to 27; what lies between is not told.
HEADER = b"ftrt" + b"\0\0\0\0" + bytes(range(101, 117)) + bytes((10, 16, 1, 11))


def refusal(plan: bytes) -> str:
    with pytest.raises(BundleError) as refused:
        read_plan_header(plan, name="model.plan")
    text = str(refused.value)
    assert text.startswith("model.plan ")
    assert "\n" not in text
    return text


def wrapped(metadata: bytes, plan: bytes = HEADER) -> bytes:
    """Return a plan as Ultralytics writes it: int32 length, that many bytes of JSON, the plan."""
    return struct.pack("<i", len(metadata)) + metadata + plan


@pytest.mark.parametrize("version", [(10, 3, 0, 26), (10, 16, 1, 11), (11, 4, 0, 2), (255, 255, 255, 255)])
def test_bytes_24_to_27_are_the_version(version: tuple[int, int, int, int]) -> None:
    plan = HEADER[:24] + bytes(version) + b"the engine"
    assert tuple(read_plan_header(plan, name="model.plan")) == version


def test_header_alone_is_enough() -> None:
    assert len(HEADER) == 28
    assert str(read_plan_header(HEADER, name="model.plan")) == "10.16.1.11"


@pytest.mark.parametrize("plan", [b"", b"f", b"\x7fELF" + bytes(60), b"trtf" + HEADER[4:], b"FTRT" + HEADER[4:]])
def test_another_beginning_is_no_plan(plan: bytes) -> None:
    text = refusal(plan)
    assert f"is not a TensorRT plan: it begins with {plan[:4]!r}, not b'ftrt'" in text
    assert "`run-ssl build`" in text


def test_onnx_file_under_the_plans_name_is_no_plan() -> None:
    assert "is not a TensorRT plan" in refusal(b"\x08\x09\x12\x08pytorch\x1a" + bytes(100))


@pytest.mark.parametrize("length", [4, 8, 24, 27])
def test_plan_shorter_than_its_header_is_truncated(length: int) -> None:
    text = refusal(HEADER[:length])
    assert f"has {length} bytes, less than a plan's header: it is truncated" in text
    assert "`run-ssl build`" in text


@pytest.mark.parametrize("serialisation", [1, 240, 2**32 - 1])
def test_another_serialisation_is_refused_with_its_number(serialisation: int) -> None:
    text = refusal(HEADER[:4] + struct.pack("<I", serialisation) + HEADER[8:])
    assert f"has serialisation version {serialisation}, expected 0" in text
    assert "`run-ssl build`" in text


@pytest.mark.parametrize(
    "metadata", [{"description": "Ultralytics YOLO11n model", "names": {"0": "person"}}, {}], ids=["metadata", "empty"]
)
def test_plan_that_ultralytics_wrapped_is_named_as_such(metadata: dict[str, object]) -> None:
    text = refusal(wrapped(json.dumps(metadata).encode()))
    assert "has JSON before the plan, as Ultralytics writes it" in text
    assert "`run-ssl build`" in text


def test_wrapper_that_is_cut_off_is_still_a_wrapper() -> None:
    text = refusal(wrapped(json.dumps({"description": "x" * 100}).encode())[:60])
    assert "as Ultralytics writes it" in text


def test_brace_without_json_is_no_wrapper() -> None:
    assert "is not a TensorRT plan" in refusal(wrapped(b"{no json"))


def test_json_too_deep_to_parse_is_a_refusal_too() -> None:
    assert "model.plan" in refusal(wrapped(b'{"a":' + b"[" * 200_000))


@given(st.one_of(st.binary(max_size=64), st.binary(max_size=64).map(lambda tail: b"ftrt\0\0\0\0" + tail)))
@example(b"")
@example(b"\x01\x00\x00\x00{")
@example(wrapped(b"{}"))
@example(HEADER)
def test_no_bytes_make_anything_but_a_version_or_one_line(plan: bytes) -> None:
    if plan[:8] == b"ftrt\0\0\0\0" and len(plan) >= 28:
        assert isinstance(read_plan_header(plan, name="model.plan"), Version)
    else:
        assert refusal(plan)


@given(st.binary(min_size=2, max_size=200), st.binary(max_size=40))
def test_no_wrapper_makes_anything_but_one_line(metadata: bytes, plan: bytes) -> None:
    assert refusal(wrapped(b"{" + metadata, plan))
