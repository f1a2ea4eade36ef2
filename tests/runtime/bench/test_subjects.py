from pathlib import Path

import pytest

from runtime.bench.subjects import list_subjects
from runtime.bundle.bundle import open_bundle
from runtime.errors import BundleError, UsageError
from tests.helpers.bundles import tensors, write_hand_made
from tests.helpers.plans import put_plan


@pytest.fixture
def bundles(tmp_path):
    return tuple(open_bundle(write_hand_made(tmp_path / name)) for name in ("net-fp32", "net-int8"))


def subjects(bundles, **changes):
    wanted = {
        "engines": ("onnxruntime",),
        "peers": (),
        "batches": (1,),
        "threads": (None,),
        "scope": "model",
        "device": "cpu",
        "weights": None,
        "images": None,
    }
    return list_subjects(bundles, **{**wanted, **changes})


def names(bundles, **changes):
    return [subject.name for subject in subjects(bundles, **changes)]


def test_every_engine_on_every_bundle_at_every_batch_and_thread_count(bundles):
    found = names(bundles, engines=("openvino", "openvino:bf16"), batches=(1, 8), threads=(1, None))
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2
    assert found[:4] == [
        "net-fp32 openvino batch 1, 1 thread",
        "net-fp32 openvino batch 1",
        "net-fp32 openvino batch 8, 1 thread",
        "net-fp32 openvino batch 8",
    ]
    assert found[-1] == "net-int8 openvino:bf16 batch 8"


def test_the_original_is_one_network_whatever_the_bundles(bundles):
    found = subjects(bundles, engines=("pytorch", "onnxruntime"))
    assert [subject.name for subject in found] == [
        "net-fp32 pytorch:fp32 batch 1",
        "net-fp32 onnxruntime batch 1",
        "net-int8 onnxruntime batch 1",
    ]
    assert found[0].engine == "pytorch"


def test_peers_run_the_first_bundle_s_network_in_the_model_scope(bundles, tmp_path):
    found = subjects(bundles, peers=("raw-openvino",), batches=(1, 2), scope="copies", weights=tmp_path / "w.pth")
    peers = [subject for subject in found if subject.kind == "peer"]
    assert [subject.name for subject in peers] == ["net-fp32 raw-openvino batch 1", "net-fp32 raw-openvino batch 2"]
    assert {subject.bundle for subject in peers} == {bundles[0].path}
    assert {subject.scope for subject in peers} == {"model"}
    assert {subject.weights for subject in peers} == {tmp_path / "w.pth"}
    assert {subject.scope for subject in found if subject.kind == "bundle"} == {"copies"}


def test_paths_are_absolute_since_the_measuring_process_is_elsewhere(bundles, monkeypatch):
    monkeypatch.chdir(bundles[0].path.parent)
    (found,) = subjects(
        [open_bundle(Path("net-fp32"))], scope="end-to-end", weights=Path("weights.pth"), images=Path("pictures")
    )
    here = bundles[0].path.parent
    assert (found.bundle, found.weights, found.images) == (bundles[0].path, here / "weights.pth", here / "pictures")


@pytest.mark.parametrize("engines", [("onnxruntime", "onnxruntime"), ("pytorch", "pytorch:fp32")])
def test_one_thing_asked_for_twice_is_refused(bundles, engines):
    with pytest.raises(UsageError, match="requested twice"):
        subjects(bundles, engines=engines)


def test_two_bundles_of_one_folder_name_are_told_apart(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    found = names([open_bundle(write_hand_made(tmp_path / folder / "net")) for folder in ("a", "b")])
    assert found == ["a/net onnxruntime batch 1", "b/net onnxruntime batch 1"]


def test_one_bundle_given_twice_is_refused(bundles):
    with pytest.raises(UsageError, match="requested twice"):
        subjects([bundles[0], bundles[0]])


@pytest.mark.parametrize("batch", [1, 33])
def test_a_batch_outside_the_plan_s_profile_is_refused(bundles, batch):
    put_plan(bundles[0].path, profile={"min": 2, "opt": 8, "max": 32})
    with pytest.raises(UsageError, match=rf"batch {batch} is outside the plan's profile 2:8:32 .*run-ssl build"):
        subjects(bundles[:1], engines=("tensorrt",), batches=(8, batch))


def test_batches_within_the_plan_s_profile_are_taken(bundles):
    put_plan(bundles[0].path, profile={"min": 2, "opt": 8, "max": 32})
    found = names(bundles[:1], engines=("tensorrt",), batches=(2, 32))
    assert found == ["net-fp32 tensorrt batch 2", "net-fp32 tensorrt batch 32"]


def test_a_batch_that_a_graph_of_a_fixed_batch_would_split_or_fill_up_is_refused(tmp_path, bundles):
    fixed = open_bundle(write_hand_made(tmp_path / "fixed", **tensors(4)))
    expected = r"--batch 8, but the batch of \S+fixed is fixed at 4: pass --batch 4, or export it without --batch"
    with pytest.raises(UsageError, match=expected):
        subjects([bundles[0], fixed], batches=(4, 8))
    assert names([bundles[0], fixed], batches=(4,), peers=("raw-openvino",)) == [
        "net-fp32 onnxruntime batch 4",
        "fixed onnxruntime batch 4",
        "net-fp32 raw-openvino batch 4",
    ]


def test_tensorrt_without_a_plan_is_refused(bundles):
    with pytest.raises(BundleError, match="run-ssl build"):
        subjects(bundles, engines=("tensorrt",))


@pytest.mark.parametrize("engine", ["openvino:int3", "onnxruntime:mars"])
def test_an_engine_s_variant_that_does_not_exist_is_refused(bundles, engine):
    with pytest.raises(UsageError, match=engine):
        subjects(bundles, engines=(engine,))


def test_nothing_to_time_is_refused(bundles, monkeypatch):
    monkeypatch.setattr("runtime.bench.subjects.runnable_engines", lambda _bundle: ())
    with pytest.raises(UsageError, match="no engine is installed"):
        subjects(bundles, engines=())
