"""`run-ssl bench` of a TensorRT plan, on the stand-in: CUDA events, copies, the plan's profile."""

import json

import pytest

from tests.helpers.command_lines import refused
from tests.helpers.exported import copy_bundle
from tests.helpers.standin_commands import run
from tests.tensorrt_bindings.standin import VERSIONS

FEW = ("--engines", "tensorrt", "--runs", "6", "--rounds", "2")


@pytest.fixture
def bench(exported, tmp_path):
    """Build a plan and return a function that measures it."""

    def measure(*arguments, version="10.16"):
        bundle = tmp_path / "net-fp16"
        if not bundle.exists():
            copy_bundle(exported.fp16, bundle)
            built = run("run-ssl", "build", bundle, "--profile", "1:2:4", cache=tmp_path / "cache", version=version)
            assert built.exit_code == 0, built.stderr
        return run("run-ssl", "bench", bundle, *FEW, *arguments, cache=tmp_path / "cache", version=version)

    return measure


def measured(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("version", VERSIONS)
def test_kernels_are_timed_by_events_and_copies_by_the_host_s_clock(bench, version):
    for scope, notes in (("model", ["CUDA events, input and output on the GPU"]), ("copies", [])):
        content = measured(bench("--scope", scope, "--json", version=version))
        (one,) = content["measured"]
        assert (one["name"], one["engine"], one["scope"]) == ("net-fp16 tensorrt batch 1", "tensorrt", scope)
        assert one["notes"] == notes
        assert one["precision"].startswith("fp16")
        assert one["latency"]["runs"] == 6
        assert 0 < one["latency"]["min_ms"] <= one["latency"]["median_ms"]


def test_the_machine_s_gpu_and_driver_are_recorded_and_trtexec_s_commands_printed(bench):
    content = measured(bench("--json"))
    (gpu,) = content["machine"]["gpus"]
    assert (gpu["name"], gpu["compute_capability"]) == ("NVIDIA Stand-in A100", "8.0")
    assert content["machine"]["driver"]
    (commands,) = content["commands"].values()
    assert ["--saveEngine=" in commands[0], "--loadEngine=" in commands[1]] == [True, True]
    assert content["limits"] == []


def test_several_batches_within_the_profile_and_none_outside(bench):
    content = measured(bench("--batch", "1,4", "--json"))
    assert [one["batch"] for one in content["measured"]] == [1, 4]
    refused(bench("--batch", "5"), "batch 5 is outside the plan's profile 1:2:4", code=2)
