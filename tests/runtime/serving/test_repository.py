"""Versions beside each other: what may differ, what is refused, and that nothing is ever half there."""

import os
from pathlib import Path

import pytest

from runtime.bundle.manifest import Licence, Model, Preprocessing, TensorSpec
from runtime.errors import BundleError, UsageError
from runtime.serving.place import check_repository
from tests.helpers.bundles import write_hand_made
from tests.helpers.exported import copy_bundle
from tests.helpers.plans import put_plan
from tests.helpers.serving import contents, parsed, write


@pytest.fixture
def bundle(tmp_path):
    return write_hand_made(tmp_path / "bundle")


@pytest.fixture
def models(tmp_path, bundle):
    """A repository with one version of `tiny`, and a model of somebody else's."""
    repository = tmp_path / "models"
    (repository / "theirs/1").mkdir(parents=True)
    (repository / "theirs/config.pbtxt").write_text('backend: "python"')
    write(bundle, repository)
    return repository


def test_another_precision_is_the_next_version_and_changes_nothing_else(exported, tmp_path):
    model = write(exported.fp32, tmp_path / "models").place.model
    before = contents(tmp_path / "models")
    written = write(exported.fp16, tmp_path / "models")
    after = contents(tmp_path / "models")
    assert written.version == 2
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[1] for name in set(after) - set(before)} == {"2"}
    assert (model / "2/model.onnx").read_bytes() == (exported.fp16 / "model.onnx").read_bytes()


def test_without_a_classifier_the_embedding_is_the_only_output_and_there_are_no_labels(exported, backbone, tmp_path):
    written = write(backbone.fp32, tmp_path / "models", name="backbone")
    model = written.place.model
    (output,) = parsed(model).output
    assert (output.name, output.label_filename, list(output.dims)) == ("embedding", "", [512])
    assert not (model / "labels.txt").exists()
    assert (written.record.contract.classes, written.record.contract.labels) == (0, None)
    assert write(backbone.int8, tmp_path / "models", name="backbone").version == 2
    with pytest.raises(BundleError, match="has the classes 0, but this version would have 1000"):
        write(exported.fp32, tmp_path / "models", name="backbone")


def test_the_same_bundle_may_be_a_later_version_again(bundle, models):
    assert [write(bundle, models).version for _ in range(2)] == [2, 3]
    assert (models / "tiny/3/model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()


def test_version_numbers_are_compared_as_numbers(bundle, models):
    write(bundle, models, version=10)
    write(bundle, models, version=9)
    assert write(bundle, models).version == 11


def test_a_later_version_keeps_the_settings_that_are_there(bundle, tmp_path):
    write(bundle, tmp_path / "m", max_batch=8, device="gpu", instances=2, keep="all", preferred_batch=(4,))
    before = (tmp_path / "m/tiny/config.pbtxt").read_bytes()
    assert write(bundle, tmp_path / "m").record.contract.settings.max_batch_size == 8
    assert (tmp_path / "m/tiny/config.pbtxt").read_bytes() == before


def test_a_configuration_edited_by_hand_is_left_as_it_is(bundle, models):
    config = models / "tiny/config.pbtxt"
    config.write_text(config.read_text() + "# mine\n")
    write(bundle, models)
    assert config.read_text().endswith("# mine\n")
    assert parsed(models / "tiny").name == "tiny"


def spec(shape, name="pixels", dtype="uint8"):
    return TensorSpec(name=name, dtype=dtype, shape=shape, layout="NC" if len(shape) == 2 else "NHWC", meaning="")


def outputs(classes, dim):
    return (spec(("batch", classes), "logits", "float32"), spec(("batch", dim), "embedding", "float32"))


def network(**changes):
    fields = {"architecture": "resnet18", "timm_tag": None, "parameters": 10, "macs": 5, "flops": 10}
    return Model.model_validate({"name": "tiny", "classes": 3, "embedding_dim": 4, **fields, **changes})


SHARPER = Preprocessing(
    image_size=8, resize_size=8, crop_pct=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("input", {"input": spec(("batch", 8, 8, 3), "picture")}),
        ("preprocessing", {"preprocessing": SHARPER}),
        ("classes", {"model": network(classes=7), "outputs": outputs(7, 4)}),
        ("outputs", {"outputs": outputs(3, 9), "model": network(embedding_dim=9)}),
        ("licence", {"licence": Licence(spdx="Apache-2.0", notice="Another one.")}),
    ],
)
def test_a_bundle_that_does_not_fit_the_versions_there_is_refused_with_the_field(tmp_path, models, field, changes):
    other, before = write_hand_made(tmp_path / "other", **changes), contents(models)
    with pytest.raises(BundleError, match=rf"has the {field} ") as refusal:
        write(other, models)
    assert "\n" not in str(refusal.value)
    assert contents(models) == before


def test_other_labels_are_refused(tmp_path, bundle, models):
    before = contents(models)
    other = copy_bundle(bundle, tmp_path / "other", files={"labels.txt": b"x\ny\nz\n"})
    with pytest.raises(BundleError, match="has the labels sha256 "):
        write(other, models)
    assert contents(models) == before


def test_another_backend_is_refused(bundle, models):
    put_plan(bundle)
    with pytest.raises(BundleError, match="has the backend onnxruntime, not tensorrt"):
        write(bundle, models, backend="tensorrt")
    # Not asked for, the plan is no reason to change what is served.
    assert write(bundle, models).record.contract.backend == "onnxruntime"


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"max_batch": 8}, "max_batch_size 32"),
        ({"instances": 2}, "instances 1"),
        ({"max_queue_delay_us": 5}, "max_queue_delay_us 0"),
        ({"preferred_batch": (8,)}, "preferred_batch"),
        ({"keep": "all"}, "keep latest"),
        ({"device": "gpu"}, "kind KIND_AUTO"),
    ],
)
def test_an_option_that_differs_from_the_shared_configuration_is_refused(bundle, models, wish, field):
    with pytest.raises(BundleError, match=f"has the {field}"):
        write(bundle, models, **wish)
    assert sorted(path.name for path in (models / "tiny").iterdir() if path.name.isdigit()) == ["1"]


def test_an_existing_version_is_replaced_only_when_told(exported, tmp_path):
    model = write(exported.fp32, tmp_path / "models").place.model
    with pytest.raises(BundleError, match="pass --overwrite to replace it, or leave --version out for 2"):
        write(exported.fp16, tmp_path / "models", version=1)
    write(exported.fp16, tmp_path / "models", version=1, overwrite=True)
    assert (model / "1/model.onnx").read_bytes() == (exported.fp16 / "model.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models"]


@pytest.mark.parametrize("version", [0, -1, 10**18])
def test_a_version_is_a_whole_number_from_one_on(bundle, models, version):
    with pytest.raises(UsageError, match=f"--version {version}: expected"):
        write(bundle, models, version=version)


def fail_to_rename_to(monkeypatch, target):
    rename = Path.rename

    def refuse(source, goal):
        if Path(goal) == target and source.parent.suffix != ".old":
            raise OSError(28, os.strerror(28))
        return rename(source, goal)

    monkeypatch.setattr(Path, "rename", refuse)


@pytest.mark.parametrize("version", [1, 2])
def test_a_failed_rename_leaves_what_was_there(bundle, models, monkeypatch, version):
    before = contents(models.parent)
    fail_to_rename_to(monkeypatch, models / f"tiny/{version}")
    with pytest.raises(BundleError, match="No space left"):
        write(bundle, models, version=version, overwrite=True)
    assert contents(models.parent) == before


@pytest.mark.parametrize("version", [None, 1, 2])
def test_the_only_version_that_a_killed_process_moved_aside_comes_back(bundle, models, version):
    # A repository whose only version was being replaced: no version is left under its own name.
    before = contents(models / "tiny/1")
    aside = models / "tiny" / ".1.abcd1234.old"
    aside.mkdir()
    (models / "tiny/1").rename(aside / "1")
    written = write(bundle, models, version=version, overwrite=True).version
    assert written == (version or 2)
    assert not aside.exists()
    if written != 1:
        assert contents(models / "tiny/1") == before


def test_ctrl_c_leaves_no_repository(bundle, tmp_path, monkeypatch):
    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("runtime.serving.repository.record_of", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(bundle, tmp_path / "models")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_while_it_is_written_the_repository_has_no_folder_more(bundle, models, monkeypatch):
    from runtime.serving import repository

    seen, record_of = [], vars(repository)["record_of"]

    def look(*arguments):
        seen.append(contents(models))
        return record_of(*arguments)

    monkeypatch.setattr(repository, "record_of", look)
    before = contents(models)
    write(bundle, models)
    write(bundle, models, name="another")
    assert seen[0] == before
    assert {name.split("/")[0] for name in seen[1]} == {"theirs", "tiny"}


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "-x", "a b", "é"])
def test_a_name_that_leads_elsewhere_is_refused(bundle, tmp_path, name):
    with pytest.raises(UsageError, match=r"--name .*expected letters, digits"):
        write(bundle, tmp_path / "models", name=name)
    assert not (tmp_path / "models").exists()


def test_a_models_folder_that_is_not_ours_is_left_alone(bundle, models):
    with pytest.raises(BundleError, match=r"no readable export-ssl\.json"):
        write(bundle, models, name="theirs")
    (models / "link").symlink_to(models.parent)
    with pytest.raises(BundleError, match="no plain folder"):
        write(bundle, models, name="link")
    (models / "file").write_text("")
    with pytest.raises(BundleError, match="no plain folder"):
        write(bundle, models, name="file")
    write(bundle, models, version=9)
    (models / "tiny/5").symlink_to(models.parent)
    with pytest.raises(BundleError, match="no plain folder"):
        write(bundle, models, version=5, overwrite=True)


@pytest.mark.skipif(not Path("/proc").is_mount(), reason="no second file system is known here")
def test_a_file_system_of_its_own_is_refused(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_arguments: True)
    with pytest.raises(BundleError, match="is a mount point: a version is made beside the repository"):
        check_repository(Path("/proc"))


def test_a_repository_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="is not a directory: pass a model repository"):
        check_repository(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="is not a directory: pass a model repository"):
        check_repository(tmp_path / "dangling")
    with pytest.raises(BundleError, match="absent is not a directory: create it first"):
        check_repository(tmp_path / "absent/models")
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    with pytest.raises(BundleError, match=r"cannot write into .*change its permissions"):
        check_repository(tmp_path / "models")
