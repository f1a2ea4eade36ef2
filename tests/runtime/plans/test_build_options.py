"""How a plan is built: what the options mean, and which are impossible."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from runtime.commands.plan_options import BuildChoices
from runtime.errors import UsageError
from runtime.plans.options import BatchProfile, BuildOptions, BuildRequest


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


def test_request_to_the_building_process_survives_json(tmp_path: Path) -> None:
    request = BuildRequest(
        bundle=tmp_path / "a bundle",
        plan=tmp_path / ".model.plan.x.partial",
        options=BuildOptions(
            profile=BatchProfile(min=2, opt=4, max=6),
            workspace_mib=512,
            optimization_level=5,
            version_compatible=True,
            hardware_compatibility="same-compute-capability",
            required_share=0.9,
        ),
        timing_cache=tmp_path / "kernels.cache",
        verbose=True,
    )
    assert BuildRequest.model_validate_json(request.model_dump_json()) == request


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


def test_choices_at_their_defaults_have_not_changed() -> None:
    assert BuildChoices().changed() == []
    assert BuildChoices().read() == BuildOptions()


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (BuildChoices(profile="1"), ["--profile"]),
        (BuildChoices(workspace=64), ["--workspace"]),
        (BuildChoices(optimization_level=0), ["--optimization-level"]),
        (BuildChoices(timing_cache="none"), ["--timing-cache"]),
        (BuildChoices(version_compatible=True), ["--version-compatible"]),
        (BuildChoices(hardware_compatible="ampere+"), ["--hardware-compatible"]),
        (BuildChoices(min_share=0.0), ["--min-share"]),
        (BuildChoices(verbose=True), ["--verbose"]),
        (BuildChoices(profile="4", verbose=True), ["--profile", "--verbose"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_changed_options_are_named_as_they_are_typed(choices: BuildChoices, words: list[str]) -> None:
    assert choices.changed() == words


def test_choices_are_read_into_options() -> None:
    choices = BuildChoices(
        profile="2:4:8", workspace=64, optimization_level=1, hardware_compatible="ampere+", min_share=0.5
    )
    options = choices.read()
    assert (options.profile.min, options.profile.opt, options.profile.max) == (2, 4, 8)
    assert (options.workspace_mib, options.optimization_level, options.required_share) == (64, 1, 0.5)
    assert options.hardware_compatibility == "ampere+"


def test_impossible_profile_is_refused_when_choices_are_read() -> None:
    with pytest.raises(UsageError, match="--profile 9:8:7"):
        BuildChoices(profile="9:8:7").read()


def test_timing_cache_none_is_no_file_even_where_one_is_named_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path)
    assert BuildChoices(timing_cache="none").timing_cache_path() is None


def test_timing_cache_is_the_file_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "kernels.cache"
    assert BuildChoices(timing_cache=str(file)).timing_cache_path() == file
    assert not file.exists()


def test_timing_cache_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory: expected a file"):
        BuildChoices(timing_cache=str(tmp_path)).timing_cache_path()
