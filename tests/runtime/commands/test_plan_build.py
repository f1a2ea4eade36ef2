"""How a plan is built, as it is typed: what the options become, and which are refused."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from runtime.bundle.plan_json import BuildOptions
from runtime.commands.plan_build import log_to
from runtime.commands.plan_options import BuildChoices
from runtime.errors import UsageError
from runtime.plans.build_process import LOGGER


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


@pytest.mark.parametrize(
    ("verbose", "lines"),
    [
        (False, ["warning: a", "warning: b", "warning: a (this 3 times)"]),
        (True, ["warning: a", "warning: a", "warning: b", "warning: a"]),
    ],
)
def test_what_is_said_of_every_layer_is_shown_once_with_its_number(verbose: bool, lines: list[str]) -> None:
    console = Console(file=io.StringIO(), width=80)
    with log_to(console, verbose=verbose):
        for word in "aaba":
            LOGGER.warning(word)
    assert console.file.getvalue().splitlines() == lines  # type: ignore[attr-defined]  # it is the StringIO above


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


@pytest.mark.parametrize(
    ("choices", "option"),
    [
        (BuildChoices(engine="tensorrt-rtx", timing_cache="none"), "--timing-cache"),
        (BuildChoices(engine="tensorrt-rtx", optimization_level=5), "--optimization-level"),
        (BuildChoices(engine="tensorrt-rtx", version_compatible=True), "--version-compatible"),
        (BuildChoices(engine="tensorrt-rtx", hardware_compatible="ampere+"), "--hardware-compatible"),
        (BuildChoices(gpu="ada"), "--gpu"),
        (BuildChoices(compute_capability="86"), "--compute-capability"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_option_of_the_other_library_is_refused_with_a_sentence(choices: BuildChoices, option: str) -> None:
    with pytest.raises(UsageError, match=f"^{option} has no meaning with --engine {choices.engine}: .+; leave it out$"):
        choices.read()


def test_choices_for_rtx_are_read_into_options() -> None:
    choices = BuildChoices(engine="tensorrt-rtx", gpu="ada,ampere", profile="1:2:4", workspace=64)
    options = choices.read()
    assert (options.engine, options.compute_capabilities) == ("tensorrt-rtx", ("8.0", "8.6", "8.9"))
    assert (str(options.profile), options.workspace_mib) == ("1:2:4", 64)


def test_there_is_no_timing_cache_for_rtx_and_nothing_of_a_gpu_is_asked_for_its_name() -> None:
    assert BuildChoices(engine="tensorrt-rtx").timing_cache_path() is None
