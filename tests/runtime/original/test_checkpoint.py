import argparse
import collections
import datetime
import gzip
import hashlib
import json
import os
import pickle
import struct
import sys
import types
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from runtime.errors import CheckpointError
from runtime.original.checkpoint import (
    Checkpoint,
    checkpoint_classes,
    hash_tensors,
    load_into,
    read_checkpoint,
    without_classifier,
)
from runtime.original.checkpoint_search import Choice
from runtime.original.network import build_network


@pytest.fixture(scope="module")
def state():
    return timm.create_model("resnet18", num_classes=7).state_dict()


@pytest.fixture
def network():
    return build_network("resnet18", 7)


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def same(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".tar", ".pth.tar"])
def test_pytorch_files_are_read(state, tmp_path, suffix):
    path = saved(state, tmp_path / f"weights{suffix}")
    checkpoint = read_checkpoint(path)
    assert same(checkpoint.state, state)
    assert checkpoint.name == path.name
    assert checkpoint.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_pytorch_files_of_before_2020_are_read(state, tmp_path):
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(path).state, state)


def test_safetensors_files_are_read(state, tmp_path):
    save_file(state, tmp_path / "model.safetensors")
    assert same(read_checkpoint(tmp_path / "model.safetensors").state, state)


@pytest.mark.parametrize("name", ["epoch=3-step=99.ckpt", "weights", "weights.safetensors"])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_content_decides_what_a_file_is_and_not_its_name(tmp_path, state, name, kind):
    path = tmp_path / name
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    assert same(read_checkpoint(path).state, state)


@pytest.mark.parametrize("key", ["state_dict", "model", "state_dict_ema", "model_ema"])
def test_weights_are_found_inside_a_training_checkpoint(state, tmp_path, key):
    content = {"epoch": 3, "args": argparse.Namespace(lr=0.1), "optimizer": {"state": {}}, key: state}
    assert same(read_checkpoint(saved(content, tmp_path / "last.pth")).state, state)


def test_averaged_weights_come_first_as_in_timm_and_are_said_to_be_that(state, tmp_path):
    averaged = {name: value + 1 for name, value in state.items()}
    path = saved({"state_dict": state, "state_dict_ema": averaged}, tmp_path / "last.pth")
    checkpoint = read_checkpoint(path)
    assert same(checkpoint.state, timm.models.load_state_dict(str(path)))
    assert same(checkpoint.state, averaged)
    assert "EMA" in checkpoint.note


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_dropped(state, tmp_path, prefix):
    wrapped = {prefix + name: value for name, value in state.items()}
    assert same(read_checkpoint(saved(wrapped, tmp_path / "ddp.pth")).state, state)


def test_names_with_and_without_a_prefix_are_ambiguous(state, tmp_path):
    both = state | {f"module.{name}": value + 1 for name, value in state.items()}
    path = saved(both, tmp_path / "both.pth")
    message = refusal(path)
    assert "2 ResNets" in message
    assert "--weights-prefix" in message
    assert same(read_checkpoint(path, Choice(prefix="module")).state, {n: v + 1 for n, v in state.items()})


class Malicious:
    """A pickle of this touches a file when it is run."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self):
        return os.mkdir, (str(self.sentinel),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_a_pickle_with_code_is_refused_and_nothing_is_run(tmp_path, zipped, nested):
    sentinel = tmp_path / "was-run"
    content = {"fc.weight": torch.zeros(2), "x": Malicious(sentinel)} if nested else Malicious(sentinel)
    path = tmp_path / "evil.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    message = refusal(path)
    assert "mkdir" in message
    assert "safetensors" in message
    assert not sentinel.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_pickle_with_code_is_refused_and_nothing_is_run(tmp_path, protocol):
    sentinel = tmp_path / "was-run"
    path = tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps(Malicious(sentinel), protocol=protocol))
    message = refusal(path)
    assert "nothing was run" in message
    assert "safetensors" in message
    assert not sentinel.exists()


def test_a_whole_pickled_model_is_refused_with_the_way_out(tmp_path):
    message = refusal(saved(torch.nn.Linear(2, 2), tmp_path / "model.pt"))
    assert "torch.nn.modules.linear.Linear" in message
    assert "state_dict" in message


@pytest.mark.parametrize("name", ["model.safetensors", "new.pth", "old.pth"])
@pytest.mark.parametrize("share", [0.0001, 0.5, 0.999])
def test_a_truncated_file_is_refused(state, tmp_path, name, share):
    path = tmp_path / name
    small = {key: state[key] for key in ("conv1.weight", "fc.weight", "fc.bias")}
    if name == "model.safetensors":
        save_file(small, path)
    else:
        torch.save(small, path, _use_new_zipfile_serialization=name == "new.pth")
    path.write_bytes(path.read_bytes()[: max(1, int(path.stat().st_size * share))])
    assert "fetch or save it again" in refusal(path)


def test_a_flipped_bit_in_the_weights_is_found(tmp_path):
    path = saved({"fc.weight": torch.full((100,), 0.5)}, tmp_path / "weights.pth")
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<f", 0.5) * 50) + 21] ^= 1
    path.write_bytes(content)
    assert "checksum" in refusal(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"\0", b"not a checkpoint", b"404: not found", b"\x80\x02}q\0.", bytes(range(256)) * 40]
)
def test_bytes_that_are_no_checkpoint_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    refusal(path)


def test_an_empty_a_missing_and_a_strange_file_and_a_directory_are_told_apart(tmp_path):
    empty, strange = tmp_path / "empty.pth", tmp_path / "weights.onnx"
    empty.touch()
    strange.write_bytes(b"x")
    assert "is empty" in refusal(empty)
    assert "does not exist" in refusal(tmp_path / "missing.pth")
    assert "is a directory" in refusal(tmp_path)
    assert "safetensors" in refusal(strange)


@pytest.mark.parametrize(
    "content", [{}, [1], 3, {"epoch": 1}, {"state_dict": {}}, {"fc.weight": torch.eye(2).to_sparse()}], ids=str
)
def test_a_file_without_plain_weights_is_refused(tmp_path, content):
    assert "state dict" in refusal(saved(content, tmp_path / "weights.pth"))


def test_the_hash_in_a_legacy_name_is_checked(state, tmp_path):
    plain = saved(state, tmp_path / "plain.pth")
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    right = plain.rename(tmp_path / f"semi_supervised_resnet18-{digest[:8]}.pth")
    assert read_checkpoint(right).file_sha256 == digest
    wrong = right.rename(tmp_path / "semi_supervised_resnet18-d92f0530.pth")
    message = refusal(wrong)
    assert "d92f0530" in message
    assert digest[:8] in message


@pytest.mark.parametrize("name", ["resnet18-20240131.pth", "run-20240131123059.pth", "step-00010000.pth"])
def test_a_date_or_a_number_of_steps_is_not_taken_for_a_hash(state, tmp_path, name):
    assert same(read_checkpoint(saved(state, tmp_path / name)).state, state)


def test_torchscript_and_an_exported_program_are_named_and_not_run(tmp_path):
    class Doubled(torch.nn.Module):
        def forward(self, x):
            return x * 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (DeprecationWarning, FutureWarning))
        torch.jit.save(torch.jit.trace(Doubled(), torch.ones(1)), tmp_path / "script.pt")
    torch.export.save(torch.export.export(Doubled(), (torch.ones(1),)), tmp_path / "program.pt2")
    assert "TorchScript" in refusal(tmp_path / "script.pt")
    assert "torch.jit.load(FILE).state_dict()" in refusal(tmp_path / "script.pt")
    assert "torch.export" in refusal(tmp_path / "program.pt2")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 46830571\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (gzip.compress(b"weights", mtime=0), "gzip"),
        (b"<!DOCTYPE html><html>", "web page"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path, content, named):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert named in refusal(path)


def test_a_zip_file_around_a_checkpoint_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "weights.zip", "w") as archive:
        archive.writestr("resnet18.pth", b"x")
    message = refusal(tmp_path / "weights.zip")
    assert "resnet18.pth" in message
    assert "extract" in message


VALUES = {
    "best_acc1": np.float64(71.5),
    "lr": np.float32(0.1),
    "epoch": np.int64(3),
    "history": np.arange(6.0).reshape(2, 3),
    "names": np.array(["cat", "dog"]),
    "rng": np.random.get_state(),
    "generator": np.random.default_rng(0),
    "folder": Path("runs/3"),
    "when": datetime.datetime(2024, 1, 31),
    "took": datetime.timedelta(hours=2),
    "settings": types.SimpleNamespace(depth=18),
    "recent": collections.deque([1.0, 2.0], maxlen=5),
    "meters": collections.defaultdict(list, loss=[0.5]),
    "windows": collections.defaultdict(collections.deque, loss=collections.deque([0.5, 0.25])),
    "frozen": frozenset({"fc"}),
}


@pytest.mark.parametrize("zipped", [True, False])
def test_values_beside_the_tensors_do_no_harm(tmp_path, state, zipped):
    path = tmp_path / "last.pth"
    torch.save({"state_dict": state, **VALUES}, path, _use_new_zipfile_serialization=zipped)
    assert same(read_checkpoint(path).state, state)


def test_weights_in_several_files_are_said_to_be_that(tmp_path, state):
    # As transformers' `save_pretrained(max_shard_size=…)` writes them.
    index = {"metadata": {"total_size": 8}, "weight_map": {"conv1.weight": "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    message = refusal(tmp_path / "model.safetensors.index.json")
    assert "is text in JSON, such as the index of weights in several files" in message
    shard = tmp_path / "model-00001-of-00002.safetensors"
    save_file({"conv1.weight": state["conv1.weight"]}, shard)
    for told in (message, refusal(shard)):
        assert "pass one file with all weights" in told
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert "--model local-dir:" in refusal(tmp_path)
    assert "pass the file" not in refusal(tmp_path)
    save_file(state, tmp_path / "model.safetensors")
    assert f"pass the file, as {tmp_path / 'model.safetensors'}" in refusal(tmp_path)


@pytest.fixture
def fastai_classes(monkeypatch):
    """Classes of the names that fastai 2.8 pickles, made as its `L` is: an object whose dict holds `items`."""

    def named(module, name):
        made = type(name, (), {"__module__": module})
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:count]), types.ModuleType(".".join(parts[:count])))
        setattr(sys.modules[module], name, made)
        return made

    return named


def test_what_fastai_saves_beside_the_weights_does_no_harm(tmp_path, state, fastai_classes):
    # `Learner.save` after a training: {"model": …, "opt": {"state": [...], "hypers": L}}.
    hypers = fastai_classes("fastcore.foundation", "L")()
    hypers.items = [{"wd": 0.01, "lr": 0.001, "mom": 0.9}]
    opt = {"state": [{"grad_avg": torch.ones(2), "step": 3}], "hypers": hypers}
    assert same(read_checkpoint(saved({"model": state, "opt": opt}, tmp_path / "stage1.pth")).state, state)


def test_fastais_learner_is_refused_with_the_line_that_saves_its_tensors(tmp_path, state, fastai_classes):
    learner = fastai_classes("fastai.learner", "Learner")()
    learner.model = state
    message = refusal(saved(learner, tmp_path / "export.pkl"))
    assert "asks to run fastai.learner.Learner: nothing was run" in message
    assert "load_learner(FILE).model.state_dict()" in message


def test_values_of_a_strangers_file_are_never_built(tmp_path, state, monkeypatch):
    path = saved({"state_dict": state, "best": np.float64(1), "run": np.zeros(3)}, tmp_path / "last.pth")
    called = []
    monkeypatch.setattr("numpy._core.multiarray.scalar", lambda *_: called.append("scalar"))
    monkeypatch.setattr("numpy._core.multiarray._reconstruct", lambda *_: called.append("array"))
    read_checkpoint(path)
    assert called == []


def test_the_hash_of_tensors_is_over_their_names_kinds_shapes_and_bytes():
    state = {
        "b": torch.tensor(5, dtype=torch.int64),
        "a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]).t(),
        "c": torch.tensor([1.0], dtype=torch.bfloat16),
    }
    # Written out by hand: a is transposed, so its C order is 1, 3, 2, 4; bfloat16's 1.0 is 0x3f80.
    expected = (
        b"a\0float32\x002,2\0"
        + struct.pack("<4f", 1, 3, 2, 4)
        + b"b\0int64\0\0"
        + struct.pack("<q", 5)
        + b"c\0bfloat16\x001\0"
        + b"\x80\x3f"
    )
    assert hash_tensors(state) == hashlib.sha256(expected).hexdigest()


def test_the_hash_of_tensors_does_not_depend_on_the_file_format_or_order(state, tmp_path):
    save_file(state, tmp_path / "model.safetensors")
    turned = collections.OrderedDict(reversed(state.items()))
    pickled = read_checkpoint(saved(turned, tmp_path / "weights.pth"))
    assert hash_tensors(read_checkpoint(tmp_path / "model.safetensors").state) == hash_tensors(pickled.state)


def test_the_number_of_classes_is_read_from_the_checkpoint(state):
    assert checkpoint_classes(state) == 7
    with pytest.raises(CheckpointError, match=r"fc\.bias of shape \(7,\): expected fc\.weight"):
        checkpoint_classes({"fc.bias": torch.zeros(7)})
    with pytest.raises(CheckpointError, match="shape"):
        checkpoint_classes({"fc.weight": torch.zeros(7)})


def test_a_checkpoint_without_a_classifier_has_no_classes(state):
    backbone = timm.create_model("resnet18", num_classes=0).state_dict()
    assert checkpoint_classes(backbone) == 0
    assert without_classifier(checkpoint_of(state)).state.keys() == backbone.keys()
    assert without_classifier(checkpoint_of(backbone)).state == backbone


def checkpoint_of(state) -> Checkpoint:
    return Checkpoint(state=dict(state), file_sha256="0" * 64, name="weights.pth")


def misfit(network, state) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_into(network, checkpoint_of(state))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_loaded_weights_are_the_checkpoints(network, state):
    load_into(network, checkpoint_of(state))
    assert same(network.state_dict(), state)


def test_files_without_batch_counters_load(network, state):
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    load_into(network, checkpoint_of(old))
    assert torch.equal(network.fc.weight, state["fc.weight"])


def test_batch_counters_that_an_average_made_floats_load(network, state):
    average = {name: value * 0.5 + value * 0.5 for name, value in state.items()}
    assert average["bn1.num_batches_tracked"].is_floating_point()
    load_into(network, checkpoint_of(average))
    assert torch.equal(network.fc.weight, state["fc.weight"])


def test_half_precision_checkpoints_load_as_float32(network, state):
    load_into(network, checkpoint_of({name: v.half() if v.is_floating_point() else v for name, v in state.items()}))
    assert network.fc.weight.dtype == torch.float32
    assert torch.equal(network.fc.weight, state["fc.weight"].half().float())


def test_a_checkpoint_of_another_architecture_is_named(network):
    other = timm.create_model("resnet50", num_classes=7).state_dict()
    message = misfit(network, other)
    assert "pass --model resnet50" in message
    assert "unexpected (layer1.0.conv3.weight" in message
    assert "layer1.0.conv1.weight is (64, 64, 1, 1), expected (64, 64, 3, 3)" in message


def test_missing_and_unexpected_tensors_are_counted_and_named(network, state):
    changed = {name.replace("fc.", "head."): value for name, value in state.items()}
    message = misfit(network, changed)
    assert "2 missing (fc.weight, fc.bias)" in message
    assert "2 unexpected (head.weight, head.bias)" in message
    assert "--model" in message


def test_another_number_of_classes_is_said_to_be_that(network):
    message = misfit(network, timm.create_model("resnet18", num_classes=5).state_dict())
    assert "a resnet18 with 5 classes" in message


@pytest.mark.parametrize("shape", [(64, 1, 7, 7), (64, 4, 7, 7), (64, 3, 3, 3)])
def test_a_stem_of_other_channels_or_size_is_said_to_be_all_that_differs(network, state, shape):
    message = misfit(network, {**state, "conv1.weight": torch.zeros(shape)})
    assert f"conv1.weight is {shape}, expected (64, 3, 7, 7)" in message
    assert "only its stem differs" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_are_named(network, state, value):
    broken = dict(state)
    broken["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"].double().clone()
    broken["layer1.0.conv1.weight"][0, 0, 0, 0] = value
    assert "layer1.0.conv1.weight holds NaN or infinity" in misfit(network, broken)


def test_integer_weights_are_not_taken_for_floats(network, state):
    quantised = {**state, "conv1.weight": state["conv1.weight"].to(torch.int8)}
    assert "torch.int8, expected torch.float32" in misfit(network, quantised)


def test_a_name_that_is_not_utf_8_is_said_to_be_the_reason(state, tmp_path):
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/w\xff.pth"))
    with file.open("wb") as opened:
        torch.save(state, opened)
    with pytest.raises(CheckpointError, match=r"w\\xff\.pth has a name that is not UTF-8, .*: rename it"):
        read_checkpoint(file)
