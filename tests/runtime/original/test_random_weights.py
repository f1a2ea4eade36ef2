import copy
import hashlib
import os
import subprocess
import sys
from typing import Any

import pytest
import timm
import torch

from runtime.original.network import build_network
from runtime.original.random_weights import randomise
from tests.helpers.paths import ROOT

# Features of a photograph-like image, rms: trained ResNets have about 1; a network that explodes with
# depth passes 10 within 50 layers.
FEATURE_RMS = (0.3, 4.0)
# A trained ResNet-50's FP16 logits are 50 to 70 dB from FP32's; below 40 dB nothing could be verified.
FP16_MIN_SQNR_DB = 40.0
# The statistics keep bfloat16's 8 significant bits.
BFLOAT16_RELATIVE_STEP = 2.0**-8


def bytes_of(network) -> str:
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def pictures(count: int = 4, *, size: int) -> torch.Tensor:
    """Smooth shapes with edges, normalised, (count, 3, size, size): not the noise that the code draws."""
    generator = torch.Generator().manual_seed(123)
    coarse = torch.randn(count, 3, 7, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")
    smooth[:, :, size // 3 : size // 2, size // 4 :] -= 1.5
    return smooth


@pytest.fixture(scope="module")
def network():
    network = build_network("resnet18", 1000)
    randomise(network, 0)
    return network


def test_the_same_seed_gives_the_same_bytes_on_one_thread_and_on_two(network):
    other, threads = build_network("resnet18", 1000), torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        randomise(other, 0)
    finally:
        torch.set_num_threads(threads)
    assert bytes_of(other) == bytes_of(network)


def test_a_cpu_without_vector_instructions_draws_the_same_bytes(network):
    # PyTorch's and MKL's own switches, which they read when they are loaded.
    script = (
        "import sys, hashlib\n"
        "from runtime.original.network import build_network\n"
        "from runtime.original.random_weights import randomise\n"
        "network = build_network('resnet18', 1000)\n"
        "randomise(network, 0)\n"
        "data = b''.join(value.numpy().tobytes() for value in network.state_dict().values())\n"
        "print(hashlib.sha256(data).hexdigest())\n"
    )
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.strip() == bytes_of(network)


def test_another_seed_gives_other_weights(network):
    other = copy.deepcopy(network)
    randomise(other, 1)
    for (name, left), right in zip(network.named_parameters(), other.parameters(), strict=True):
        assert not torch.equal(left, right), name


def test_a_second_call_does_not_depend_on_what_was_there(network):
    other = copy.deepcopy(network)
    randomise(other, 1)
    randomise(other, 0)
    assert bytes_of(other) == bytes_of(network)


def test_the_global_random_generator_is_not_touched(network):
    before = torch.get_rng_state()
    randomise(copy.deepcopy(network), 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_branch_is_zero_as_timm_would_leave_it(network):
    untouched = timm.create_model("resnet18").state_dict()
    last = [name for name, value in untouched.items() if name.endswith("weight") and not value.any()]
    assert len(last) == 8  # one per residual block of ResNet-18
    for name in last:
        assert network.get_parameter(name).abs().min() > 0.05


def test_network_stays_float32_in_eval_mode_without_hooks(network):
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    for module in network.modules():
        assert not module.training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert network.bn1.momentum == 0.1  # PyTorch's default


def test_running_statistics_are_those_of_what_the_layer_sees():
    network: Any = build_network("resnet18", 10)
    seen: dict[str, torch.Tensor] = {}
    network.bn1.register_forward_pre_hook(lambda _, inputs: seen.update(bn1=inputs[0].clone()))
    randomise(network, 3)
    values = seen["bn1"].double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(
        network.bn1.running_var.double(), values.var(dim=1), rtol=BFLOAT16_RELATIVE_STEP, atol=1e-6
    )
    torch.testing.assert_close(
        network.bn1.running_mean.double(), values.mean(dim=1), rtol=BFLOAT16_RELATIVE_STEP, atol=1e-6
    )


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_features_neither_explode_nor_vanish_and_logits_differ(architecture):
    network: Any = build_network(architecture, 1000)
    randomise(network, 0)
    # Half of the usual side: PyTorch has no fast FP16 convolution on most CPUs.
    images = pictures(size=112)
    with torch.inference_mode():
        features = network.forward_features(images)
        logits = network.forward_head(features)
        fp16 = copy.deepcopy(network).half()(images.half()).float()
    assert torch.isfinite(logits).all()
    assert FEATURE_RMS[0] < features.square().mean().sqrt() < FEATURE_RMS[1]
    assert len(set(logits.argmax(dim=1).tolist())) > 1
    noise = (logits - fp16).square().sum()
    assert 10 * torch.log10(logits.square().sum() / noise) > FP16_MIN_SQNR_DB


@pytest.mark.parametrize("architecture", ["resnet50_gn", "ecaresnet26t", "seresnet18", "resnetblur18", "test_resnet"])
def test_other_members_of_the_family_work(architecture):
    network = build_network(architecture, 5)
    randomise(network, 0)
    assert torch.isfinite(network(pictures(2, size=64))).all()
    assert not any(name for name, value in network.named_parameters() if not value.any())
