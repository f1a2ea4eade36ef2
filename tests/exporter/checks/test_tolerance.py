from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import helper
from safetensors.torch import load_file
from scipy import stats

from exporter.checks.step_check import Check
from exporter.checks.tolerance import (
    emulate_fp16,
    excess_db,
    fp16_tolerance,
    fp32_required_db,
    fp32_tolerance,
    int8_tolerance,
    margin_db,
)
from runtime.bundle.bundle import open_bundle
from runtime.bundle.manifest import Preprocessing
from tests.conftest import timm_network
from tests.helpers.exported import decibels
from tests.helpers.graphs import make_model

# Decibels are compared to what the hand calculation was carried to.
HAND_WORKED_DB = 0.01
# Two noises of the same roundings in another order differ by less than a factor of two in power.
SAME_NOISE_DB = 3.0
SMALL_EMBEDDING = {"logits": 1000, "embedding": 4}
# ResNet-18: 147 in the stem; 4 x 576; 576 + 64 + 3 x 1152; 1152 + 128 + 3 x 2304; 2304 + 256 + 3 x 4608; 512.
RESNET18_PRODUCTS = 147 + 2304 + 4096 + 8192 + 16384 + 512


def test_float32_tolerance_of_a_tiny_graph_is_that_worked_by_hand():
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv", group=2),
            helper.make_node("Flatten", ["c"], ["f"], name="flat"),
            helper.make_node("Gemm", ["f", "fc"], ["y"], name="fc", transB=1),
        ],
        {"w": np.zeros((8, 2, 3, 3), np.float32), "fc": np.zeros((5, 8), np.float32)},
        input_shape=("n", 4, 3, 3),
        outputs={"y": ("n", 5)},
    )
    # 18 + 8 products: 20 log10(2^24) = 144.49 dB, less 10 log10(26) = 14.15 dB.
    assert fp32_required_db(ir.from_proto(model)) == pytest.approx(130.34, abs=HAND_WORKED_DB)


def test_float32_tolerance_of_resnet18_is_the_manifests(exported):
    expected = 144.494 - 10 * np.log10(RESNET18_PRODUCTS)
    assert expected == pytest.approx(99.49, abs=HAND_WORKED_DB)
    assert open_bundle(exported.fp32).manifest.precision.min_sqnr_db == pytest.approx(expected, abs=HAND_WORKED_DB)


def test_fp16_tolerance_is_three_decibels_below_the_noise():
    logits = np.linspace(1, 2, 400, dtype=np.float32).reshape(2, 200)
    # A thousandth of every value is 60 dB.
    found = fp16_tolerance({"logits": logits}, {"logits": logits * np.float32(1.001)}, fp32={"logits": 100.0})
    assert found["logits"] == pytest.approx(57.0, abs=HAND_WORKED_DB)
    emulated = fp16_tolerance(
        {"logits": logits}, {"logits": logits * np.float32(1.001)}, fp32={"logits": 100.0}, allowed_db=6.0
    )
    assert emulated["logits"] == pytest.approx(51.0, abs=HAND_WORKED_DB)


@pytest.mark.parametrize("values", [4, 16, 64, 1000])
def test_margin_holds_what_two_noises_of_few_values_differ_by(values):
    """The ratio of two noise powers has the F distribution, of which SciPy has the quantiles."""
    one_in_a_thousand, one_in_a_hundred_thousand = 10 * np.log10(stats.f.ppf([0.999, 0.99999], values, values))
    assert one_in_a_thousand <= margin_db(values) <= max(3.0, one_in_a_hundred_thousand)


def test_logits_of_a_small_embedding_are_no_more_independent_than_it():
    """A thousand classes that are sums of four features have the noise of four values: 34.7 / sqrt(4) dB."""
    rng = np.random.default_rng(0)
    references = {name: rng.normal(size=(2, width)).astype(np.float32) for name, width in SMALL_EMBEDDING.items()}
    noisy = {name: array * np.float32(1.001) for name, array in references.items()}
    found = fp16_tolerance(references, noisy, fp32=dict.fromkeys(references, 100.0))
    assert found == pytest.approx({"logits": 60 - 17.37, "embedding": 60 - 17.37}, abs=HAND_WORKED_DB)


def test_many_values_leave_the_factor_of_two():
    assert margin_db(8 * 1000) == margin_db(135) == 3.0
    assert margin_db(134) > 3.0


@pytest.mark.parametrize("fill", [0.0, 7.5])
def test_output_without_noise_has_the_tolerance_of_one_rounding(fill):
    """Logits that are constant, as a classifier of zeros gives them, are equal in FP16 and in INT8: no infinity."""
    references = {"logits": np.full((4, 200), fill, np.float32), "embedding": np.ones((4, 200), np.float32)}
    near = {"logits": references["logits"], "embedding": references["embedding"] * np.float32(1.001)}
    fp32 = {"logits": 99.5, "embedding": 99.5}
    # 20 log10(2^11), which FP16's rounding to 11 bits cannot miss.
    assert fp16_tolerance(references, near, fp32=fp32) == pytest.approx({"logits": 66.23, "embedding": 57.0}, abs=0.01)
    check = Check({"logits": np.inf, "embedding": 30.0}, {"logits": 10.0, "embedding": 10.0})
    assert int8_tolerance(check, references, fp32=fp32) == {"logits": 99.5, "embedding": 27.0}


def test_noise_of_rounding_lowers_the_float32_tolerance_where_sums_cancel_and_never_raises_it():
    model = make_model(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "fc"], ["y"], transB=1)],
        {"fc": np.zeros((5, 9), np.float32)},
        input_shape=("n", 1, 3, 3),
        outputs={"y": ("n", 5)},
    )
    references = dict.fromkeys("abcd", np.ones((2, 1000), np.float32))
    found = fp32_tolerance(ir.from_proto(model), references, {"a": 200.0, "b": 60.0, "c": -20.0, "d": np.inf})
    # 20 log10(2^24) less 10 log10(9); 60 dB less 10 log10(1 + 2 / 10 + 2 / 100) = 0.86 for chance;
    # a tenth of the signal's power at least.
    assert found == pytest.approx({"a": 134.95, "b": 59.14, "c": 10.0, "d": 134.95}, abs=HAND_WORKED_DB)


@pytest.mark.parametrize("values", [1, 2, 4, 16, 512])
def test_chance_adds_no_more_to_a_noise_than_is_allowed(values):
    one_in_twenty_thousand = 10 * np.log10(stats.chi2.ppf(1 - np.exp(-10.0), values) / values)
    assert one_in_twenty_thousand <= excess_db(values) <= one_in_twenty_thousand + 3.0


def test_manifests_fp16_tolerance_follows_from_pytorchs_own_fp16_model(exported):
    bundle = open_bundle(exported.fp16)
    golden, preprocessing = bundle.golden(), bundle.manifest.preprocessing
    planes = torch.from_numpy(golden.pixels).permute(0, 3, 1, 2).float() / 255
    feed = (planes - torch.tensor(preprocessing.mean).view(1, 3, 1, 1)) / torch.tensor(preprocessing.std).view(
        1, 3, 1, 1
    )
    network = timm_network(exported.checkpoint)
    with torch.no_grad():
        full, fp16 = network(feed).numpy(), network.half()(feed.half()).float().numpy()
    # timm pools by another kernel than the graph's mean, so that the last roundings differ.
    assert bundle.manifest.precision.min_sqnr_db == pytest.approx(decibels(full, fp16) - 3.0, abs=SAME_NOISE_DB / 2)


@pytest.fixture
def preprocessing(exported):
    return open_bundle(exported.fp32).manifest.preprocessing


def test_emulated_fp16_has_the_noise_of_pytorchs_fp16(exported, reference, preprocessing):
    emulated = emulate_fp16(timm_network(exported.checkpoint), preprocessing, reference.pixels)
    assert list(emulated) == ["logits", "embedding"]
    noise_db = decibels(reference.logits, emulated["logits"])
    assert noise_db == pytest.approx(decibels(reference.logits, reference.fp16_logits), abs=SAME_NOISE_DB)


def test_emulated_fp16_leaves_the_network_as_it_was(exported, reference, preprocessing):
    network = timm_network(exported.checkpoint)
    emulate_fp16(network, preprocessing, reference.pixels[:1])
    state = network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in load_file(exported.checkpoint).items())
    assert not any(module._forward_hooks for module in network.modules())


class OneWeight(torch.nn.Module):
    """As much of timm's network as the wrapper uses: a red picture times `stem`, its mean, times `fc`."""

    def __init__(self, stem, classifier):
        super().__init__()
        pool: Any = torch.nn.Identity()
        pool.pool_type = "avg"
        self.global_pool = pool
        self.stem, self.fc = torch.nn.Conv2d(3, 1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.stem.weight)
        with torch.no_grad():
            self.stem.weight[0, 0] = stem
        torch.nn.init.constant_(self.fc.weight, classifier)

    def forward_features(self, planes):
        return self.stem(planes)

    def get_classifier(self):
        return self.fc


@pytest.mark.parametrize(
    ("stem", "classifier", "logit"),
    [
        # 1 + 2^-12 is nearer to 1 than to 1 + 2^-10, the next FP16 number.
        (1 + 2.0**-12, 1.0, 1.0),
        # 2049 is halfway from 2048 to 2050 and goes to the one with the even significand.
        (2049.0, 1.0, 2048.0),
        # 120,000 is no FP16 number and stays; a quarter of it has one.
        (120000.0, 0.25, 30000.0),
    ],
)
def test_emulation_rounds_what_fits_and_keeps_what_does_not(stem, classifier, logit):
    unit = Preprocessing(
        image_size=8, resize_size=8, crop_pct=1.0, interpolation="bilinear", mean=(0.0,) * 3, std=(1.0,) * 3
    )
    white = np.full((1, 8, 8, 3), 255, np.uint8)
    emulated = emulate_fp16(OneWeight(stem, classifier).eval(), unit, white)["logits"]
    assert (emulated.dtype, emulated.tolist()) == (np.float32, [[logit]])
