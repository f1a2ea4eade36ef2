"""The trtexec commands, written out by hand from trtexec's help."""

import shlex
from pathlib import Path

import pytest

from runtime.bundle.manifest import TensorSpec
from runtime.bundle.plan_json import BatchProfile, BuildOptions
from runtime.plans.trtexec import trtexec_command

PIXELS = TensorSpec(name="pixels", dtype="uint8", shape=("batch", 224, 224, 3), layout="NHWC", meaning="")
FLOATS = TensorSpec(name="input", dtype="float32", shape=("batch", 3, 224, 224), layout="NCHW", meaning="")
MODEL = Path("out/model.onnx")
# Defaults of trtexec 11 that 10 must be told.
ONLY_IN_10 = {"--stronglyTyped", "--useCudaGraph", "--useSpinWait", "--noDataTransfers", "--separateProfileRun"}


def words(options: BuildOptions | None = None, *, major: int = 11, spec: TensorSpec = PIXELS) -> list[str]:
    return shlex.split(trtexec_command(MODEL, spec, options or BuildOptions(), major=major))


def test_command_of_10_says_what_11_does_anyway() -> None:
    assert trtexec_command(MODEL, PIXELS, BuildOptions(), major=10) == (
        "trtexec --onnx=out/model.onnx --saveEngine=out/model.plan"
        " --minShapes=pixels:1x224x224x3 --optShapes=pixels:8x224x224x3 --maxShapes=pixels:32x224x224x3"
        " --shapes=pixels:8x224x224x3 --builderOptimizationLevel=3 --profilingVerbosity=detailed"
        " --stronglyTyped --useCudaGraph --useSpinWait --noDataTransfers --separateProfileRun"
        " --exportLayerInfo=out/model.plan.layers.json --exportProfile=out/model.plan.profile.json"
        " --warmUp=200 --duration=3"
    )


def test_command_of_11_leaves_its_defaults_out() -> None:
    assert trtexec_command(MODEL, PIXELS, BuildOptions(), major=11) == (
        "trtexec --onnx=out/model.onnx --saveEngine=out/model.plan"
        " --minShapes=pixels:1x224x224x3 --optShapes=pixels:8x224x224x3 --maxShapes=pixels:32x224x224x3"
        " --shapes=pixels:8x224x224x3 --builderOptimizationLevel=3 --profilingVerbosity=detailed"
        " --exportLayerInfo=out/model.plan.layers.json --exportProfile=out/model.plan.profile.json"
        " --warmUp=200 --duration=3"
    )


def test_the_versions_differ_in_those_words_alone() -> None:
    assert set(words(major=10)) - set(words(major=11)) == ONLY_IN_10
    assert not set(words(major=11)) - set(words(major=10))


def test_float_input_has_its_own_name_and_layout() -> None:
    found = words(BuildOptions(profile=BatchProfile(min=2, opt=4, max=6)), spec=FLOATS)
    assert [word for word in found if "hapes" in word] == [
        "--minShapes=input:2x3x224x224",
        "--optShapes=input:4x3x224x224",
        "--maxShapes=input:6x3x224x224",
        "--shapes=input:4x3x224x224",
    ]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (BuildOptions(optimization_level=5), "--builderOptimizationLevel=5"),
        (BuildOptions(workspace_mib=512), "--memPoolSize=workspace:512M"),
        (BuildOptions(version_compatible=True), "--versionCompatible"),
        (BuildOptions(hardware_compatibility="ampere+"), "--hardwareCompatibilityLevel=ampere+"),
        (
            BuildOptions(hardware_compatibility="same-compute-capability"),
            "--hardwareCompatibilityLevel=sameComputeCapability",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_option_is_trtexecs_word_for_it(options: BuildOptions, word: str) -> None:
    assert word in words(options)
    assert word not in words()


def test_timing_cache_is_named_where_there_is_one() -> None:
    command = trtexec_command(MODEL, PIXELS, BuildOptions(), major=10, timing_cache=Path("/c/kernels.cache"))
    assert "--timingCacheFile=/c/kernels.cache" in shlex.split(command)
    assert not any(word.startswith("--timingCacheFile") for word in words())


def test_nothing_says_a_precision() -> None:
    assert not {"--fp16", "--int8", "--bf16", "--best"} & set(words(major=10))


def test_paths_with_spaces_and_quotes_reach_trtexec_whole() -> None:
    model, cache = Path("my nets/it's $HOME/model.onnx"), Path("a b/c.cache")
    found = shlex.split(trtexec_command(model, PIXELS, BuildOptions(), major=11, timing_cache=cache))
    assert "--onnx=my nets/it's $HOME/model.onnx" in found
    assert "--saveEngine=my nets/it's $HOME/model.plan" in found
    assert "--timingCacheFile=a b/c.cache" in found
    assert "--exportLayerInfo=my nets/it's $HOME/model.plan.layers.json" in found


def test_shapes_are_not_said_of_a_graph_whose_batch_is_fixed() -> None:
    # trtexec stops with "Static model does not take explicit shapes".
    fixed = PIXELS.model_copy(update={"shape": (8, 224, 224, 3)})
    assert set(words()) - set(words(spec=fixed)) == {word for word in words() if "hapes=" in word}
    assert not [word for word in words(spec=fixed) if "hapes" in word]
