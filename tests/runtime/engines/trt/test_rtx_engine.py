"""The engine of TensorRT for RTX on the stand-in: its runtime configuration, the kernels that it keeps, and `auto`.

Each test is a process of its own, where the stand-in is imported instead of NVIDIA's package.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.helpers.exported import copy_bundle
from tests.helpers.standin_commands import run
from tests.tensorrt_bindings.standin import RTX, standin_environment

KERNELS = "model.rtx.plan.nvidia-stand-in-a100.jit"
NEWER_DRIVER = json.dumps({"driver": 13010})
T4 = json.dumps({"name": "Tesla T4", "major": 7, "minor": 5})
H100 = json.dumps({"name": "NVIDIA H100", "major": 9, "minor": 0})
PRELUDE = """
import json, sys
import numpy as np
from pathlib import Path
from runtime import EngineOptions, load_engine, open_bundle
bundle = Path(sys.argv[1])
pixels = np.load(bundle / "golden/pixels.npy")
logits = np.load(bundle / "golden/logits.npy")
def kernels():
    (file,) = bundle.glob("*.jit")
    return json.loads(file.read_bytes().partition(b"\\n")[2])["kernels"]
"""


@pytest.fixture(scope="module")
def built(exported, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rtx")
    bundle = copy_bundle(exported.fp16, folder / "net")
    # Without a GPU, as such plans are built.
    done = run(
        "run-ssl", "build", bundle, "--engine", "tensorrt-rtx", "--profile", "1:2:4", cache=folder, version=RTX,
        STANDIN_GPU="nodriver",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    return bundle


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    return copy_bundle(built, tmp_path / "net")


def execute(script: str, bundle: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a script with a bundle's path on the stand-in of TensorRT for RTX."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), str(bundle)],
        env=standin_environment(RTX, **env),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


RUN = """
with load_engine(bundle, "tensorrt-rtx") as engine:
    engine.infer(pixels[:1])
    print(json.dumps(engine.kernels_from))
"""


def test_it_runs_any_batch_and_what_lies_on_the_gpu_with_pytorchs_outputs(bundle):
    execute(
        """
        with load_engine(bundle, "tensorrt-rtx") as engine:
            assert (engine.name, engine.runs_on_gpu, engine.tensors.max_batch) == ("tensorrt-rtx", True, 4)
            many = np.concatenate([pixels] * 3)
            for _ in range(2):
                found = engine.infer(many)
                assert np.abs(found.logits - np.concatenate([logits] * 3)).max() < 0.05
            assert (engine.infer_async(pixels).result().logits == engine.infer(pixels).logits).all()
        """,
        bundle,
    )


def test_kernels_are_compiled_once_and_kept_beside_the_plan(bundle):
    first, second = (json.loads(execute(RUN, bundle).stdout) for _ in range(2))
    assert first == ""
    assert second == str(bundle / KERNELS)
    line, _, kernels = (bundle / KERNELS).read_bytes().partition(b"\n")
    described = json.loads(line)
    assert (described["gpu"], described["driver"], described["version"]) == (
        "NVIDIA Stand-in A100", "13.0", "1.7.1.116",
    )  # fmt: skip
    # The stand-in names its kernels by when they were compiled.
    assert json.loads(kernels)["kernels"] == ["any batch", "batch 1, LAZY", "graph of batch 1"]
    assert not list(bundle.glob(".*"))


def _replan(file: Path) -> None:
    line, _, rest = file.read_bytes().partition(b"\n")
    file.write_bytes(json.dumps({**json.loads(line), "plan_sha256": "0" * 64}).encode() + b"\n" + rest)


@pytest.mark.parametrize(
    ("damage", "env", "reason"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), {}, "it is damaged"),
        (lambda file: file.write_bytes(b"\xff"), {}, "it is damaged"),
        (lambda _: None, {"STANDIN_GPU": NEWER_DRIVER}, "its kernels are of another driver"),
        (_replan, {}, "its kernels are of another plan"),
    ],
    ids=["cut", "garbage", "driver", "plan"],
)
def test_kernels_of_no_use_are_discarded_with_a_word_and_replaced(bundle, damage, env, reason):
    execute(RUN, bundle)
    damage(bundle / KERNELS)
    done = execute(RUN, bundle, **env)
    assert json.loads(done.stdout) == ""
    assert f"{bundle / KERNELS} is not used ({reason}): kernels are compiled again, and replace it" in done.stderr
    again = execute(RUN, bundle, **env)
    assert json.loads(again.stdout) == str(bundle / KERNELS)
    assert again.stderr == ""


def test_kernels_that_are_a_link_are_not_followed_and_a_folder_without_room_is_no_error(bundle, tmp_path):
    execute(RUN, bundle)
    (bundle / KERNELS).rename(tmp_path / "elsewhere")
    (bundle / KERNELS).symlink_to(tmp_path / "elsewhere")
    kept = (tmp_path / "elsewhere").read_bytes()
    assert json.loads(execute(RUN, bundle).stdout) == ""
    assert not (bundle / KERNELS).is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == kept
    (bundle / KERNELS).unlink()
    (bundle / KERNELS).mkdir()
    assert "compiled kernels are not kept" in execute(RUN, bundle).stderr


@pytest.mark.parametrize(
    ("specialisation", "kernels"),
    [("eager", ["any batch", "batch 2, EAGER", "graph of batch 2"]), ("none", ["any batch", "graph of batch 2"])],
)
def test_when_kernels_are_specialised_is_an_option(bundle, specialisation, kernels):
    script = f"""
    with load_engine(bundle, "tensorrt-rtx", EngineOptions(specialisation="{specialisation}")) as engine:
        engine.infer(pixels[:2])
    print(json.dumps(kernels()))
    """
    assert json.loads(execute(script, bundle).stdout) == kernels


def test_what_runs_at_the_callers_addresses_records_no_graph(bundle):
    script = """
    from runtime.bench.cuda_timer import DeviceCall
    with load_engine(bundle, "tensorrt-rtx") as engine:
        DeviceCall(engine, pixels[:1]).call()
    print(json.dumps(kernels()))
    """
    assert json.loads(execute(script, bundle).stdout) == ["any batch", "batch 1, LAZY"]


def test_auto_takes_it_where_tensorrt_is_not_there_and_the_cpu_where_there_is_no_gpu(bundle):
    script = "with load_engine(bundle) as engine: print(engine.name)"
    assert execute(script, bundle).stdout.strip() == "tensorrt-rtx"
    done = execute(script, bundle, STANDIN_GPU="nodriver")
    assert done.stdout.strip() in ("openvino", "onnxruntime")
    assert "the bundle's TensorRT for RTX plan is not used: there is no NVIDIA driver" in done.stderr


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ("nodriver", "there is no NVIDIA driver"),
        ("none", "CUDA finds no GPU"),
        (H100, "TensorRT for RTX does not support NVIDIA H100 (compute capability 9.0)"),
        (T4, "is for Ampere and later RTX GPUs, this is Tesla T4 (compute capability 7.5), which "
             "`--compute-capability 75` names"),
    ],
    ids=["nodriver", "none", "h100", "turing"],
)  # fmt: skip
def test_a_machine_that_cannot_run_it_is_told_in_one_sentence(bundle, gpu, words):
    done = run("run-ssl", "verify", bundle, "--engines", "tensorrt-rtx", cache=bundle, version=RTX, STANDIN_GPU=gpu)
    assert done.exit_code == 1
    assert words in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_a_plan_that_may_be_slower_here_is_told(bundle):
    done = execute(RUN, bundle, STANDIN_FAULT="suboptimal-plan")
    assert "says that the plan may be slower here than it could be: the driver is too old" in done.stderr


def test_golden_images_are_within_the_bundles_tolerance(bundle):
    done = run("run-ssl", "verify", bundle, "--engines", "tensorrt-rtx", cache=bundle, version=RTX)
    assert done.exit_code == 0, done.output


def test_bench_says_what_the_first_call_did(bundle):
    few = ("--engines", "tensorrt-rtx", "--runs", "6", "--rounds", "2", "--json")
    notes = []
    for _ in range(2):
        done = run("run-ssl", "bench", bundle, *few, cache=bundle, version=RTX)
        assert done.exit_code == 0, done.stderr
        (one,) = json.loads(done.stdout)["measured"]
        assert one["first_ms"] > 0
        notes.append(one["notes"])
    assert "the first call compiled the plan's kernels; later processes take them from a file beside it" in notes[0]
    assert f"kernels were taken from {KERNELS}: where it is not there, the first call compiles them" in notes[1]
