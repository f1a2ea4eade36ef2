import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from typer.testing import CliRunner

from runtime.bundle.bundle import open_bundle
from runtime.bundle.layout import LICENCE_FILE, MODEL_FILE
from runtime.commands.run_ssl import app
from runtime.errors import BundleError, EngineError, UsageError
from runtime.health.verify import verify_bundle
from tests.helpers.exported import change_weights, copy_bundle

GRAPH_ENGINES = ["onnxruntime", "openvino"]


def run(*arguments):
    return CliRunner().invoke(app, ["verify", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def other_network(exported, tmp_path_factory):
    """A bundle with right hashes whose graph has every layer's filters in the opposite order."""
    graph = change_weights((exported.fp32 / MODEL_FILE).read_bytes(), lambda _name, array: array[::-1])
    return copy_bundle(exported.fp32, tmp_path_factory.mktemp("other") / "bundle", files={MODEL_FILE: graph})


@pytest.fixture(scope="module")
def poisoned(exported, tmp_path_factory):
    """A bundle with right hashes whose classifier has one NaN."""

    def poison(name, array):
        if "fc" in name:
            array.flat[0] = np.nan
        return array

    graph = change_weights((exported.fp32 / MODEL_FILE).read_bytes(), poison)
    return copy_bundle(exported.fp32, tmp_path_factory.mktemp("poisoned") / "bundle", files={MODEL_FILE: graph})


# The packaged photographs; of the pictures to calibrate on, those that were held out.
@pytest.mark.parametrize(("precision", "images"), [("fp32", 4), ("int8", 3)])
def test_a_bundle_with_an_embedding_alone_passes_on_every_engine_and_has_no_top1(backbone, precision, images):
    checks = verify_bundle(open_bundle(getattr(backbone, precision)), (*GRAPH_ENGINES,))
    for check in checks:
        assert check.passed
        assert (check.logits_db, check.same_top1, check.images) == (None, None, images)
        assert check.embedding_db >= check.required_db


def test_the_table_of_a_bundle_with_an_embedding_alone_has_no_column_of_logits(backbone):
    result = run(backbone.fp32, "--engines", "onnxruntime")
    assert result.exit_code == 0
    assert "embedding" in result.stdout
    assert "logits" not in result.stdout
    assert "top-1" not in result.stdout
    (row,) = json.loads(run(backbone.fp32, "--json", "--engines", "onnxruntime").stdout)["engines"]
    assert (row["logits_db"], row["same_top1"], row["passed"]) == (None, None, True)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_good_bundle_passes_on_every_engine(exported, precision):
    bundle = open_bundle(getattr(exported, precision))
    checks = verify_bundle(bundle, (*GRAPH_ENGINES, "pytorch"))
    assert [check.engine for check in checks] == [*GRAPH_ENGINES, "pytorch"]
    for check in checks:
        assert check.passed
        assert min(check.logits_db, check.embedding_db) >= check.required_db == bundle.manifest.precision.min_sqnr_db
        assert (check.same_top1, check.images) == (4, 4)
        assert check.meaning == "equal to the original within rounding"


def test_all_installed_engines_are_run_where_none_is_named(exported):
    assert {check.engine for check in verify_bundle(open_bundle(exported.fp32), ())} == set(GRAPH_ENGINES)


def test_graph_of_another_network_fails_as_another_function(other_network):
    for check in verify_bundle(open_bundle(other_network), ()):
        assert not check.passed
        assert check.logits_db < 25
        assert check.meaning.startswith("another function: ")


def test_nan_is_called_nan_and_not_a_broken_batch(poisoned):
    for check in verify_bundle(open_bundle(poisoned), ()):
        assert not check.passed
        assert check.logits_db == -math.inf
        assert check.meaning.startswith("NaN or infinity: ")


def test_reduced_precision_of_an_engine_fails_and_is_explained(exported):
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU does not execute bf16")
    (check,) = verify_bundle(open_bundle(exported.fp32), ("openvino:bf16",))
    assert not check.passed
    assert check.precision == "fp32 weights, bf16 execution"
    assert check.meaning.startswith("more than rounding: it executes fp32 weights, bf16 execution")


def test_engine_that_cannot_be_opened_is_a_failed_row_with_its_reason(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    first, second = verify_bundle(open_bundle(exported.fp32), ("openvino", "onnxruntime"))
    assert not first.passed
    assert (first.precision, first.logits_db) == ("", -math.inf)
    assert "OpenVINO cannot be imported" in first.meaning
    assert second.passed


def test_no_engine_at_all_is_an_error(exported, monkeypatch):
    monkeypatch.setattr("runtime.engines.open_engine.find_spec", lambda _name: None)
    with pytest.raises(EngineError, match="no engine is installed"):
        verify_bundle(open_bundle(exported.fp32), ())


def test_unknown_engine_is_a_usage_error(exported):
    with pytest.raises(UsageError, match="no engine is named tensorflow"):
        verify_bundle(open_bundle(exported.fp32), ("tensorflow",))


def test_changed_licence_file_is_refused_by_its_hash(exported, tmp_path):
    bundle = copy_bundle(exported.fp32, tmp_path / "bundle")
    text = (bundle / LICENCE_FILE).read_text(encoding="utf-8")
    (bundle / LICENCE_FILE).write_text(text.replace("CC-BY-NC", "CC-BY-SA"), encoding="utf-8")
    result = run(bundle)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert "LICENSE-WEIGHTS.txt has sha256" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_licence_file_that_names_another_licence_is_refused_although_its_hash_is_right(exported, tmp_path):
    text = (exported.fp32 / LICENCE_FILE).read_bytes().replace(b"CC-BY-NC-4.0", b"MIT")
    bundle = copy_bundle(exported.fp32, tmp_path / "bundle", files={LICENCE_FILE: text})
    with pytest.raises(BundleError, match=r"LICENSE-WEIGHTS\.txt does not name CC-BY-NC-4\.0"):
        verify_bundle(open_bundle(bundle), ("onnxruntime",))


def test_ssl_weights_under_another_licence_are_refused_although_all_hashes_are_right(exported, tmp_path):
    text = (exported.fp32 / LICENCE_FILE).read_bytes().replace(b"CC-BY-NC-4.0", b"MIT")
    bundle = copy_bundle(
        exported.fp32,
        tmp_path / "bundle",
        files={LICENCE_FILE: text},
        edit=lambda manifest: manifest["licence"].update(spdx="MIT"),
    )
    with pytest.raises(
        BundleError, match=r"the manifest says MIT, but weights of resnet18\.fb_ssl\S+ are under CC-BY-NC"
    ):
        verify_bundle(open_bundle(bundle), ("onnxruntime",))
    assert run(bundle).exit_code == 1


def test_command_passes_a_good_bundle_with_one_row_per_engine(exported):
    result = run(exported.fp16)
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.rstrip().endswith("pass")}
    assert set(rows) == set(GRAPH_ENGINES)
    assert all("4/4" in row for row in rows.values())
    assert "CC-BY-NC-4.0" in result.stdout
    assert result.stderr == ""


def test_command_fails_with_1_and_says_why(other_network):
    result = run(other_network, "--engines", "onnxruntime")
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert "onnxruntime: another function" in result.stdout


def test_json_has_every_figure_and_nothing_else_on_stdout(exported):
    result = run(exported.fp32, "--json", "--engines", "onnxruntime")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["bundle"] == str(exported.fp32)
    assert found["passed"] is True
    (row,) = found["engines"]
    assert (row["engine"], row["precision"], row["same_top1"], row["images"]) == ("onnxruntime", "fp32", 4, 4)
    assert row["logits_db"] >= row["required_db"]
    assert row["passed"] is True


def test_json_of_outputs_that_are_not_finite_is_valid_and_failed(poisoned):
    result = run(poisoned, "--json", "--engines", "onnxruntime")
    assert result.exit_code == 1

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(result.stdout, parse_constant=refuse)
    assert found["passed"] is False
    assert found["engines"][0]["logits_db"] is None


def test_command_of_the_shell_verifies_a_bundle(exported):
    command = [Path(sys.executable).with_name("run-ssl"), "verify", exported.fp32, "--engines", "onnxruntime"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "onnxruntime: equal to the original within rounding" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["no-such-folder"], 1, "is not a directory"),
        (["{bundle}", "--engines", "tensorflow"], 2, "no engine is named tensorflow"),
        (["{bundle}", "--engines", "openvino:int3"], 2, "no precision int3"),
    ],
)
def test_bad_arguments_are_one_line(exported, arguments, code, words):
    result = run(*(argument.format(bundle=exported.fp32) for argument in arguments))
    assert result.exit_code == code
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
