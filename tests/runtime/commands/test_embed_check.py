"""`run-ssl embed --check`: what it draws, leaves out, refuses and exits with."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from runtime.bundle.results.neighbours_json import NeighbourCheck, read_neighbours
from runtime.commands.run_ssl import app
from runtime.embed.job import JobListener
from runtime.embed.neighbours import check_job
from runtime.embed.neighbours.check_job import CheckChoice, run_check
from runtime.embed.request import EmbedRequest
from runtime.errors import UsageError
from tests.conftest import PICTURES
from tests.helpers.bundle_files import described_files
from tests.helpers.command_lines import refused


@pytest.fixture(scope="module")
def broken_folder(class_folders, tmp_path_factory):
    """The pictures, and two files that are none."""
    folder = tmp_path_factory.mktemp("broken") / "images"
    shutil.copytree(class_folders, folder)
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"not a picture")
    return folder


def check(*arguments):
    return CliRunner().invoke(app, ["embed", *map(str, arguments), "--check", "--engine", "onnxruntime"])


def test_check_compares_all_images_where_the_sample_asks_for_more(exported, class_folders):
    result = check(exported.fp32, class_folders, "--json", "--min-recall", 0.99)
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert told["agreement"]["images"] == PICTURES
    assert told["engine"] == "onnxruntime"
    assert [one["k"] for one in told["agreement"]["renewed"]["recalls"]] == [1, 10]


def test_check_says_what_it_left_out_and_does_not_fail_for_it(exported, broken_folder):
    result = check(exported.fp32, broken_folder, "--metric", "euclidean")
    assert result.exit_code == 0
    assert f"{PICTURES} images, euclidean distance" in result.stdout
    assert result.stderr == "warning: 2 images of the sample cannot be read and were left out\n"


def test_the_sample_is_as_large_as_asked_and_the_seed_draws_it(exported, class_folders, monkeypatch):
    decoded: list[str] = []
    honest = vars(check_job)["decode_entry"]

    def note(opened, transform, preprocessing):
        decoded.append(opened[0].key)
        return honest(opened, transform, preprocessing)

    monkeypatch.setattr(check_job, "decode_entry", note)
    draws = []
    for seed in (0, 0, 1):
        decoded.clear()
        result = check(exported.fp32, class_folders, "--sample", 12, "--seed", seed, "--json")
        assert json.loads(result.stdout)["agreement"]["images"] == 12
        draws.append(sorted(decoded))
    assert draws[0] == draws[1] != draws[2]


def test_a_recall_below_the_least_exits_with_1_after_the_report(exported, class_folders, monkeypatch):
    monkeypatch.setattr(NeighbourCheck, "recall", lambda _check, k: {10: 0.97}[k])
    assert check(exported.fp32, class_folders, "--min-recall", 0.97).exit_code == 0
    result = check(exported.fp32, class_folders, "--min-recall", 0.98)
    assert result.exit_code == 1
    assert result.stdout.startswith("FAILED: recall at 10 is 97.00 %")
    assert "recall@10" in result.stdout
    assert result.stderr == ""


def test_check_writes_nothing_and_refuses_an_output(exported, class_folders, tmp_path):
    refused(check(exported.fp32, class_folders, "-o", tmp_path / "out"), "--check writes nothing", code=2)
    refused(check(exported.fp32, class_folders, "--ray"), "--ray has no effect here, --check runs on", code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_check_is_what_was_printed_with_where_its_images_are_from(exported, class_folders, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(exported.fp32, bundle)
    result = check(bundle, class_folders, "--weights", exported.checkpoint, "--json", "--save")
    assert result.exit_code == 0, result.stderr
    saved = read_neighbours(bundle / "results" / "neighbours.json")
    assert saved == NeighbourCheck.model_validate_json(result.stdout)
    assert (saved.source, saved.agreement.images) == (str(class_folders), PICTURES)
    assert described_files(bundle) >= {"results/neighbours.json"}


def test_a_check_that_cannot_be_kept_is_refused_before_it_runs(exported, class_folders, tmp_path, monkeypatch):
    bundle = tmp_path / "bundle"
    shutil.copytree(exported.fp32, bundle)
    (bundle / "results").write_text("no folder")
    monkeypatch.setattr(check_job, "check_neighbours", lambda *_, **__: pytest.fail("it ran"))
    refused(check(bundle, class_folders, "--save"), "cannot write")


def test_save_without_check_is_refused(exported, class_folders, tmp_path):
    command = ["embed", str(exported.fp32), str(class_folders), "-o", str(tmp_path / "out"), "--save"]
    refused(CliRunner().invoke(app, command), "--save has no effect here, it needs --check", code=2)


def test_without_check_there_must_be_an_output_and_no_least_recall(exported, class_folders, tmp_path):
    def embed(*arguments):
        return CliRunner().invoke(app, ["embed", str(exported.fp32), str(class_folders), *arguments])

    refused(embed(), "no output directory: pass --output", code=2)
    refused(embed("-o", str(tmp_path / "out"), "--min-recall", "0.9"), "--min-recall has no effect here", code=2)
    refused(embed("-o", str(tmp_path / "out"), "--details"), "--details has no effect here", code=2)
    assert list(tmp_path.iterdir()) == []


def test_too_small_a_sample_is_one_line(exported, class_folders):
    refused(check(exported.fp32, class_folders, "--sample", 10), "10 images, expected at least 11", code=2)


def test_a_sample_of_which_nothing_can_be_read_is_one_line_with_the_first_reason(exported, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"not a picture")
    refused(check(exported.fp32, tmp_path), "none of 2 images can be read; the first: a.png: not an image of a format")


def test_what_a_check_is_at_is_told_in_order(exported, class_folders, tmp_path):
    told: list[object] = []
    listener = JobListener(told.append, lambda images, done: told.append((images, done)), told.append)
    request = EmbedRequest(exported.fp32, (class_folders,), tmp_path / "unused", engine="onnxruntime", batch_size=10)
    result = run_check(request, CheckChoice(sample=15), listener)
    assert told == [
        "open the bundle",
        f"draw a sample of {class_folders}",
        "open PyTorch and the engine",
        (15, 0),
        10,
        15,
    ]
    assert (result.check.agreement.images, result.unreadable) == (15, 0)
    with pytest.raises(UsageError, match=r"^10 images, expected at least 11"):
        run_check(request, CheckChoice(sample=10))
