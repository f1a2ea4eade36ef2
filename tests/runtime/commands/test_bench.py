"""`run-ssl bench` as a user calls it, with few runs: what it prints, what it keeps, what it refuses."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from runtime.bundle.results.bench_json import BenchResult
from runtime.commands.run_ssl import app
from tests.helpers.bundle_files import described_files
from tests.helpers.command_lines import refused
from tests.helpers.exported import copy_bundle

FEW = ("--runs", 8, "--rounds", 2, "--no-limit")
ONE = ("--engines", "onnxruntime", *FEW)
# Enough rounds that even on a busy machine an interval does not span a factor of a thousand.
ROUNDS = ("--engines", "onnxruntime", "--runs", 16, "--rounds", 8, "--no-limit")
A_LOT = 1000


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *(str(argument) for argument in arguments)])


def succeeded(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def measured(*arguments):
    """Return the JSON of a benchmark, which is all that stdout has."""
    return json.loads(succeeded(*arguments, "--json").stdout)


@pytest.fixture
def bundle(exported, tmp_path):
    return copy_bundle(exported.fp32, tmp_path / "net-fp32")


@pytest.fixture(scope="module")
def earlier(exported, tmp_path_factory):
    """Return a bundle and a result of it, as JSON."""
    bundle = copy_bundle(exported.fp32, tmp_path_factory.mktemp("earlier") / "net-fp32")
    return bundle, measured(bundle, *ROUNDS)


def put(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def faster(content, factor):
    """Return a result in which every time is divided by a factor."""
    changed = json.loads(json.dumps(content))
    for one in changed["measured"]:
        one["rounds_ms"] = [[call / factor for call in calls] for calls in one["rounds_ms"]]
        for name, value in one["latency"].items():
            if name.endswith("_ms") and value is not None:
                one["latency"][name] = value / factor
            elif name.endswith("_ci95") and value is not None:
                one["latency"][name] = {end: number / factor for end, number in value.items()}
    return changed


def test_json_is_a_result_and_all_that_stdout_has(earlier):
    _, content = earlier
    result = BenchResult.model_validate(content)
    (one,) = result.measured
    assert (one.name, one.kind, one.engine, one.precision) == (
        "net-fp32 onnxruntime batch 1", "bundle", "onnxruntime", "fp32",
    )  # fmt: skip
    assert (one.batch, one.threads, one.scope, one.latency.runs) == (1, None, "model", 16)
    assert [len(calls) for calls in one.rounds_ms] == [2] * 8
    calls = sorted(call for round_ in one.rounds_ms for call in round_)
    assert one.latency.median_ms == pytest.approx((calls[7] + calls[8]) / 2)
    assert (one.latency.min_ms, one.latency.max_ms) == (calls[0], calls[-1])
    assert one.images_per_s == pytest.approx(1e3 / one.latency.mean_ms)
    assert (result.model, result.licence.spdx, result.seed) == ("ssl_resnet18", "CC-BY-NC-4.0", 0)
    assert result.machine.versions["onnxruntime"]
    assert result.limits == ()


def test_percentiles_of_too_few_runs_are_null_and_not_extrapolated(earlier):
    _, content = earlier
    latency = content["measured"][0]["latency"]
    assert [latency[name] for name in ("p90_ms", "p95_ms", "p99_ms", "p99_ci95")] == [None] * 4


def test_the_table_has_a_row_per_subject_and_a_dash_for_what_cannot_be_told(bundle, exported):
    fp16 = copy_bundle(exported.fp16, bundle.parent / "net-fp16")
    result = succeeded(bundle, fp16, *FEW, "--engines", "onnxruntime,openvino", "--details")
    assert "\x1b" not in result.stdout
    assert result.stdout.startswith("Fastest: net-fp")
    (machine,) = (line for line in result.stdout.splitlines() if line.startswith("ssl_resnet18 on "))
    assert "the engine's call alone" in " ".join(result.stdout.split())
    assert "the engine's call" in machine
    rows = [line for line in result.stdout.splitlines() if line.split()[-1:] == ["8"]]
    named = [f"{engine} {net}" for net in ("fp32", "fp16") for engine in ("onnxruntime", "openvino")]
    assert [" ".join(row.split()[:2]) for row in rows] == named
    # p90, p95 and p99.
    assert [row.split().count("-") for row in rows] == [3] * 4
    assert "CC-BY-NC-4.0" in result.stdout
    assert "benchmark_app -m" in result.stdout


def test_the_result_goes_into_the_folder_of_every_bundle(bundle, exported):
    other = copy_bundle(exported.fp16, bundle.parent / "net-fp16")
    result = succeeded(bundle, other, *ONE)
    kept = [path / "results/bench.json" for path in (bundle, other)]
    assert kept[0].read_bytes() == kept[1].read_bytes()
    assert "results/bench.json" in described_files(bundle)
    found = BenchResult.model_validate_json(kept[0].read_bytes())
    assert [one.name for one in found.measured] == [f"net-{kind} onnxruntime batch 1" for kind in ("fp32", "fp16")]
    assert all(str(path) in result.stderr for path in kept)
    # The bundle is still the one that was exported: `open_bundle` checks every hash.
    succeeded(bundle, *ONE)


def test_the_result_goes_where_the_user_says_and_nowhere_else(bundle, tmp_path):
    succeeded(bundle, *ONE, "--output", tmp_path / "mine.json")
    assert BenchResult.model_validate_json((tmp_path / "mine.json").read_bytes()).measured
    assert not (bundle / "results").exists()


def test_a_budget_chooses_a_batch(bundle):
    content = measured(bundle, *ONE, "--batch", "1,4", "--budget-ms", 1e6)
    (choice,) = content["choices"]
    fastest = max(content["measured"], key=lambda one: one["images_per_s"])
    assert (choice["budget_ms"], choice["batch"]) == (1e6, fastest["batch"])
    (none,) = measured(bundle, *ONE, "--batch", "1", "--budget-ms", 1e-6)["choices"]
    assert none["batch"] is None


def test_peers_are_measured_in_turn_with_the_engines(bundle):
    content = measured(bundle, *FEW, "--engines", "openvino", "--peers", "raw-openvino")
    ours, peer = content["measured"]
    assert (peer["kind"], peer["engine"], peer["name"]) == ("peer", "raw-openvino", "net-fp32 raw-openvino batch 1")
    assert [len(calls) for calls in peer["rounds_ms"]] == [len(calls) for calls in ours["rounds_ms"]]
    assert content["absent"] == {}


def test_a_peer_that_is_not_there_is_named_with_the_reason(bundle, monkeypatch):
    monkeypatch.setenv("PATH", str(bundle))
    content = measured(bundle, *ONE, "--peers", "trtexec")
    assert list(content["absent"]) == ["trtexec"]
    assert "trtexec was not measured: " in succeeded(bundle, *ONE, "--peers", "trtexec").stdout


def test_the_weights_given_are_those_of_the_peers(bundle, exported, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    weights = shutil.copy(exported.checkpoint, tmp_path / "elsewhere/drawn.safetensors")
    monkeypatch.chdir(tmp_path)
    without = measured(bundle, *ONE, "--peers", "pytorch-eager")
    assert "--weights" in without["absent"]["pytorch-eager"]
    given = measured(bundle, *ONE, "--peers", "pytorch-eager", "--weights", weights)
    assert given["absent"] == {}
    assert given["measured"][1]["engine"] == "pytorch-eager"


def test_the_original_is_measured_with_weights_given_from_here(bundle, exported, monkeypatch):
    shutil.copy(exported.checkpoint, bundle.parent / "other-name.safetensors")
    monkeypatch.chdir(bundle.parent)
    content = measured("net-fp32", *FEW, "--engines", "pytorch", "--weights", "other-name.safetensors")
    assert [one["name"] for one in content["measured"]] == ["net-fp32 pytorch:fp32 batch 1"]


def test_end_to_end_is_from_files_in_a_folder_given_from_here(bundle, class_folders, monkeypatch):
    monkeypatch.chdir(class_folders.parent)
    content = measured(bundle, *ONE, "--scope", "end-to-end", "--data", class_folders.name, "--batch", 4)
    (one,) = content["measured"]
    assert (content["scope"], one["scope"], one["batch"]) == ("end-to-end", "end-to-end", 4)
    assert content["commands"] == {one["name"]: []}


def test_the_limit_is_measured_in_the_same_run(bundle):
    content = measured(bundle, "--engines", "openvino", "--runs", 8, "--rounds", 2)
    (limit,) = content["limits"]
    assert limit["name"] == content["measured"][0]["name"]
    assert limit["gmacs_per_s"] > 0
    assert limit["findings"]


def test_nothing_is_shown_to_be_slower_than_a_much_slower_run(earlier, tmp_path):
    bundle, content = earlier
    before = put(tmp_path / "before.json", faster(content, 1 / A_LOT))
    result = succeeded(bundle, *ROUNDS, "--against", before, "--gate", "5%")
    assert "No subject is shown to be more than 5 % slower." in result.stdout


def test_a_regression_beyond_the_gate_exits_with_1_and_keeps_the_result(earlier, tmp_path):
    bundle, content = earlier
    before = put(tmp_path / "before.json", faster(content, A_LOT))
    result = run(bundle, *ROUNDS, "--against", before, "--gate", "5%", "--output", tmp_path / "now.json")
    assert result.exit_code == 1
    assert "FAILED: net-fp32 onnxruntime batch 1 is at least " in result.stdout
    assert BenchResult.model_validate_json((tmp_path / "now.json").read_bytes())


def test_with_json_the_changes_go_to_stderr(earlier, tmp_path):
    bundle, content = earlier
    before = put(tmp_path / "before.json", faster(content, A_LOT))
    result = run(bundle, *ROUNDS, "--against", before, "--json")
    assert result.exit_code == 1
    assert BenchResult.model_validate_json(result.stdout)
    assert "FAILED" in result.stderr


def test_what_is_in_one_result_only_is_said(earlier, tmp_path):
    bundle, content = earlier
    before = put(tmp_path / "before.json", faster(content, 1 / A_LOT))
    result = succeeded(bundle, *FEW, "--engines", "onnxruntime,openvino", "--against", before)
    assert "net-fp32 openvino batch 1 is only in this result." in result.stderr


def other_machine(content):
    changed = json.loads(json.dumps(content))
    changed["machine"]["cpu"] = "Some other CPU"
    return changed


def test_a_result_of_other_hardware_is_refused_before_anything_is_measured(earlier, tmp_path):
    bundle, content = earlier
    before = put(tmp_path / "before.json", other_machine(content))
    output = tmp_path / "now.json"
    refused(run(bundle, *ONE, "--against", before, "--output", output), "another machine", "--force", code=2)
    assert not output.exists()


def test_a_result_of_other_hardware_is_compared_by_force_and_says_so(earlier, tmp_path):
    bundle, content = earlier
    before = put(tmp_path / "before.json", other_machine(faster(content, 1 / A_LOT)))
    result = succeeded(bundle, *ONE, "--against", before, "--force")
    assert "Measured on different machines" in result.stdout


def test_a_result_of_another_scope_is_refused(earlier, tmp_path):
    bundle, content = earlier
    before = put(tmp_path / "before.json", content)
    refused(run(bundle, *ONE, "--against", before, "--scope", "copies"), "--scope model", code=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[]", "not a benchmark's result"),
        (b"{}", "not a benchmark's result"),
        (b'{"schema_version": 99}', "schema version 99"),
    ],
)
def test_a_corrupt_result_is_refused(bundle, tmp_path, text, words):
    (tmp_path / "before.json").write_bytes(text)
    refused(run(bundle, *ONE, "--against", tmp_path / "before.json"), "before.json", words)


def test_a_result_that_is_not_there_is_refused(bundle, tmp_path):
    refused(run(bundle, *ONE, "--against", tmp_path / "absent.json"), "absent.json cannot be read")


def test_no_bundle_is_a_usage_error():
    result = run()
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_bundle_that_is_not_there_is_refused(tmp_path):
    refused(run(tmp_path / "absent", *ONE), "absent is not a directory")


def test_a_damaged_bundle_is_refused(bundle):
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(content)
    refused(run(bundle, *ONE), "model.onnx", "sha256")


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--engines", "tensorflow"), ("no engine is named tensorflow", "net-fp32 tensorflow batch 1"), 2),
        (("--engines", "openvino:int3"), ("no precision int3",), 2),
        (("--engines", "tensorrt"), ("run-ssl build",), 1),
        (("--engines", "onnxruntime,onnxruntime"), ("requested twice",), 2),
        (("--batch", "0"), ("--batch 0", "1,8,32"), 2),
        (("--batch", "1,x"), ("'x'", "1,8,32"), 2),
        (("--batch", "-1"), ("--batch -1",), 2),
        (("--batch", "1e3"), ("--batch 1e3",), 2),
        (("--batch", ","), ("--batch", "is empty"), 2),
        (("--threads", "none"), ("--threads none",), 2),
        (("--threads", "0"), ("--threads 0",), 2),
        (("--peers", "tensorflow"), ("no peer is named tensorflow", "raw-openvino"), 2),
        (("--gate", "5"), ("--gate 5", "5%"), 2),
        (("--gate", "much"), ("--gate much", "5%"), 2),
        (("--budget-ms", "0"), ("--budget-ms 0",), 2),
        (("--scope", "end-to-end"), ("--data",), 2),
        (("--scope", "end-to-end", "--data", "no-such-folder"), ("no-such-folder is not a folder",), 1),
        (("--device", "tpu"), ("--device tpu", "cpu"), 2),
        (("--output", "no-such-folder/bench.json"), ("no-such-folder",), 1),
    ],
)
def test_bad_input_is_one_line(bundle, arguments, words, code):
    engines = () if "--engines" in arguments else ("--engines", "onnxruntime")
    refused(run(bundle, *FEW, *engines, *arguments), *words, code=code)


@pytest.mark.parametrize(
    "arguments", [("--runs", "5"), ("--rounds", "1"), ("--seconds", "-1"), ("--scope", "all"), ("--budget-ms", "nan")]
)
def test_values_out_of_range_are_usage_errors(bundle, arguments):
    result = run(bundle, *ONE, *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.output
    assert "Traceback" not in result.output


def test_two_networks_are_refused(bundle, exported):
    def enlarge(manifest):
        manifest["model"]["architecture"] = "resnet50"

    other = copy_bundle(exported.fp16, bundle.parent / "other", edit=enlarge)
    refused(run(bundle, other, *ONE), "differ in architecture", "resnet18 and resnet50", code=2)


def test_a_batch_outside_the_plan_s_profile_is_refused(bundle):
    from tests.helpers.plans import put_plan

    put_plan(bundle)
    refused(run(bundle, *FEW, "--engines", "tensorrt", "--batch", 64), "batch 64", "1:8:32", code=2)


def test_a_batch_larger_than_the_pictures_is_refused(bundle, class_folders):
    result = run(bundle, *ONE, "--scope", "end-to-end", "--data", class_folders, "--batch", 25)
    refused(result, "24 images", code=2)
