import copy
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torchvision.transforms.functional import normalize, to_tensor

from runtime.bundle.manifest import Preprocessing
from runtime.errors import GraphError, UnknownModelError, UsageError
from runtime.original.network import (
    build_network,
    fitting_architecture,
    map_tensors,
    resnet_architectures,
    share_tensors,
    wrap,
    wrap_fp16,
)
from runtime.original.random_weights import randomise

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Two orders of float32 operations through 20 layers: some 1e-6 of the largest value.
SAME_FUNCTION: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}
# float16 has 11 significant bits; 20 layers of rounding cost a small ResNet some 10 dB of its 66.
FP16_RELATIVE_ERROR = 1e-2


def preprocessing(size: int = 64) -> Preprocessing:
    return Preprocessing(image_size=size, resize_size=size, crop_pct=1.0, interpolation="bilinear", mean=MEAN, std=STD)


@pytest.fixture(scope="module")
def network():
    network = build_network("resnet18", 10)
    randomise(network, 0)
    return network


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def normalised(pixels):
    """Torchvision's own normalisation of the same images, (3, 3, 64, 64) float32."""
    return torch.stack([normalize(to_tensor(image), MEAN, STD) for image in pixels])


def test_uint8_module_gives_timms_logits_and_pooled_features(network, pixels, normalised):
    logits, embedding = wrap(network, preprocessing(), input_kind="uint8")(torch.from_numpy(pixels))
    torch.testing.assert_close(logits, network(normalised), **SAME_FUNCTION)
    pooled = network.forward_head(network.forward_features(normalised), pre_logits=True)
    torch.testing.assert_close(embedding, pooled, **SAME_FUNCTION)
    assert (logits.shape, embedding.shape) == ((3, 10), (3, 512))
    assert logits.dtype == embedding.dtype == torch.float32


def test_float32_module_takes_normalised_images(network, normalised):
    logits, _ = wrap(network, preprocessing(), input_kind="float32")(normalised)
    torch.testing.assert_close(logits, network(normalised), **SAME_FUNCTION)


def test_fp16_module_is_float16_inside_and_float32_outside(network, pixels, normalised):
    module: Any = wrap_fp16(network, preprocessing())
    assert {value.dtype for value in module.network.parameters()} == {torch.float16}
    logits, embedding = module(torch.from_numpy(pixels))
    assert logits.dtype == embedding.dtype == torch.float32
    expected = copy.deepcopy(network).half()(normalised.half()).float()
    difference = (logits - expected).norm() / expected.norm()
    assert difference < FP16_RELATIVE_ERROR
    assert not torch.equal(logits, network(normalised))


def test_making_the_fp16_module_leaves_the_network_as_it_is(network):
    wrap_fp16(network, preprocessing())
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_a_copy_that_shares_its_tensors_computes_the_same_and_holds_no_second_weights(network, normalised):
    shared = share_tensors(network)
    assert all(a is b for a, b in zip(network.parameters(), shared.parameters(), strict=True))
    assert all(a is b for a, b in zip(network.buffers(), shared.buffers(), strict=True))
    assert torch.equal(shared(normalised), network(normalised))


def test_other_tensors_and_hooks_in_the_copy_leave_the_network_as_it_is(network, normalised):
    before = network(normalised)
    shared: Any = share_tensors(network)
    map_tensors(shared, torch.zeros_like)
    shared.conv1.register_forward_hook(lambda _module, _inputs, output: output + 1)
    assert not shared(normalised).any()
    assert torch.equal(network(normalised), before)


def test_a_copy_keeps_its_weights_while_the_network_has_none(network, normalised):
    before = network(normalised)
    original = copy.deepcopy(network)
    shared = share_tensors(original)
    original.to("meta")
    assert all(value.is_meta for value in original.parameters())
    assert torch.equal(shared(normalised), before)


def test_wrapped_parameters_keep_timms_names(network):
    names = {name for name, _ in wrap(network, preprocessing(), input_kind="uint8").named_parameters()}
    assert names == {f"network.{name}" for name, _ in network.named_parameters()}


def test_copy_of_the_module_runs_its_own_network(network, pixels):
    module: Any = copy.deepcopy(wrap(network, preprocessing(), input_kind="uint8"))
    module.network.fc.weight.zero_()
    module.network.fc.bias.zero_()
    logits, _ = module(torch.from_numpy(pixels))
    assert not logits.any()
    assert network.fc.weight.any()


def test_network_is_in_eval_mode_and_needs_no_gradient(network):
    assert not any(module.training for module in network.modules())
    assert not any(value.requires_grad for value in network.parameters())


def test_another_family_is_refused_with_a_near_name():
    with pytest.raises(UnknownModelError, match="resnet50"):
        build_network("resnet5O", 10)
    with pytest.raises(UnknownModelError):
        build_network("vit_tiny_patch16_224", 10)


def test_a_network_without_classes_gives_timms_pooled_features_alone(pixels, normalised):
    network = build_network("resnet18", 0)
    randomise(network, 0)
    (embedding,) = wrap(network, preprocessing(), input_kind="uint8")(torch.from_numpy(pixels))
    # timm's own network without a classifier returns the pooled features.
    torch.testing.assert_close(embedding, network(normalised), **SAME_FUNCTION)
    (rounded,) = wrap_fp16(network, preprocessing())(torch.from_numpy(pixels))
    assert rounded.dtype == torch.float32
    assert (rounded - embedding).norm() / embedding.norm() < FP16_RELATIVE_ERROR


def test_a_negative_number_of_classes_is_refused():
    with pytest.raises(UsageError, match="--num-classes"):
        build_network("resnet18", -1)


def test_a_pool_that_is_not_the_average_is_named():
    other = timm.create_model("resnet18", num_classes=10, global_pool="catavgmax").eval()
    with pytest.raises(GraphError, match="catavgmax"):
        wrap(other, preprocessing(), input_kind="uint8")


@pytest.mark.parametrize("architecture", ["resnet18", "resnext101_32x16d", "wide_resnet50_2"])
def test_a_plain_architecture_is_told_from_its_shapes(architecture):
    with torch.device("meta"):
        state = timm.create_model(architecture, num_classes=7).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert fitting_architecture(shapes) == architecture


@pytest.mark.slow
def test_unknown_shapes_fit_nothing():
    assert fitting_architecture({"fc.weight": ()}) is None
    assert fitting_architecture({}) is None


def test_the_family_is_timms_resnet_module():
    assert {"resnet18", "seresnet50", "ecaresnet50d", "wide_resnet50_2"} <= set(resnet_architectures())
    assert "resnetv2_50" not in resnet_architectures()
