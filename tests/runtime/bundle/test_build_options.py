"""How a plan is built: what the options in its description mean, and which are impossible."""

from typing import Any

import pytest
from pydantic import ValidationError

from runtime.bundle.plan_json import BatchProfile, BuildOptions
from runtime.errors import UsageError


@pytest.mark.parametrize(
    ("text", "sizes"), [("1:8:32", (1, 8, 32)), ("16", (16, 16, 16)), ("1", (1, 1, 1)), ("4:4:4", (4, 4, 4))]
)
def test_profile_is_three_batch_sizes_or_one_for_all(text: str, sizes: tuple[int, int, int]) -> None:
    profile = BatchProfile.parse(text)
    assert (profile.min, profile.opt, profile.max) == sizes
    assert str(profile) == ":".join(str(size) for size in sizes)


@pytest.mark.parametrize("text", ["", "1:8", "1:2:3:4", "a:b:c", "1:8:", "1,8,32", "-1:8:32", "1.5", "1 : 8 : 32", "²"])
def test_text_that_is_no_profile_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected MIN:OPT:MAX batch sizes, such as 1:8:32, or one number") as refused:
        BatchProfile.parse(text)
    assert str(refused.value).startswith(f"--profile {text}: ")


@pytest.mark.parametrize("text", ["8:4:32", "1:64:32", "0:8:32", "0", "2:1:1"])
def test_sizes_out_of_order_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected 1 <= MIN <= OPT <= MAX"):
        BatchProfile.parse(text)


def test_profile_out_of_order_is_refused_in_json_too() -> None:
    with pytest.raises(ValidationError, match=r"8:4:32 is not in order, expected MIN <= OPT <= MAX"):
        BatchProfile.model_validate_json('{"min": 8, "opt": 4, "max": 32}')


def test_defaults_are_tensorrts_own_or_stated() -> None:
    options = BuildOptions()
    assert (options.workspace_mib, options.optimization_level) == (None, 3)
    assert (options.version_compatible, options.hardware_compatibility, options.required_share) == (False, "none", 1.0)


@pytest.mark.parametrize(
    "field",
    [
        '"optimization_level": 6',
        '"optimization_level": -1',
        '"workspace_mib": 0',
        '"required_share": 1.01',
        '"required_share": -0.1',
        '"hardware_compatibility": "turing+"',
        '"precision": "fp16"',
    ],
)
def test_impossible_options_are_refused(field: str) -> None:
    with pytest.raises(ValidationError):
        BuildOptions.model_validate_json(f"{{{field}}}")


def test_whose_plan_it_is_decides_what_has_a_meaning() -> None:
    rtx = BuildOptions(engine="tensorrt-rtx", compute_capabilities=("8.6",), workspace_mib=64)
    assert rtx.compute_capabilities == ("8.6",)
    with pytest.raises(ValidationError, match="tensorrt builds for the GPU of the machine"):
        BuildOptions(compute_capabilities=("8.6",))


@pytest.mark.parametrize(
    "own", [{"optimization_level": 5}, {"version_compatible": True}, {"hardware_compatibility": "ampere+"}]
)
def test_options_of_tensorrts_alone_are_refused_for_rtx(own: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="tensorrt-rtx has no optimization_level"):
        BuildOptions(engine="tensorrt-rtx", **own)


@pytest.mark.parametrize("text", ["1:8:32", "4", "4:4:4"])
def test_a_graph_of_a_fixed_batch_has_that_profile_and_no_other(text: str) -> None:
    assert str(BatchProfile.parse(text).of_graph(4)) == "4:4:4"
    assert str(BatchProfile.parse(text).of_graph(None)) == {"4": "4:4:4"}.get(text, text)


def test_another_profile_of_a_graph_of_a_fixed_batch_is_refused() -> None:
    expected = "--profile 1:4:8, but the batch of the graph is fixed at 4: leave --profile out, or export it without"
    with pytest.raises(UsageError, match=expected):
        BatchProfile.parse("1:4:8").of_graph(4)
