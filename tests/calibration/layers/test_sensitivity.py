import json

import numpy as np
import onnx
import pytest
from onnx import helper

from calibration.layers.sensitivity import measure_sensitivity
from calibration.search.judge import Judge
from runtime.errors import CalibrationError
from tests.helpers.graphs import make_model

CLASSES = 8
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(5, CLASSES)).astype(np.float32)
# Logits of about 1 keep 24 bits; what is left of a noise of 1e-2 in their sum is exact to 1e-5, so to 1e-4 dB.
DB = 1e-3


def noise(size: float, place: int) -> np.ndarray:
    """A noise in one class alone: those of different places are independent of each other."""
    vector = np.zeros(CLASSES, np.float32)
    vector[place] = size
    return vector


class Network:
    """Logits are the input; every quantised layer adds a noise of its own."""

    def __init__(self, noises: dict[str, np.ndarray]) -> None:
        self.noises = noises
        self.asked: list[frozenset[str]] = []

    def build(self, kept: frozenset[str]) -> onnx.ModelProto:
        self.asked.append(kept)
        total = sum((array for name, array in self.noises.items() if name not in kept), np.zeros(CLASSES, np.float32))
        return make_model(
            [helper.make_node("Add", ["x", "noise"], ["logits"])],
            {"noise": total},
            input_shape=("batch", CLASSES),
            outputs={"logits": ("batch", CLASSES)},
        )

    def judge(self) -> Judge:
        batches = [LOGITS[:3], LOGITS[3:]]
        return Judge(batches, batches, threads=1)


def expected_db(*noises: np.ndarray) -> float:
    """SQNR of logits to which constant noises are added, written out."""
    total = np.sum(noises, axis=0, dtype=np.float64)
    return float(10 * np.log10((LOGITS.astype(np.float64) ** 2).sum() / (len(LOGITS) * (total**2).sum())))


def test_layers_are_ranked_by_their_share_of_the_noise() -> None:
    network = Network({"quiet": noise(0.01, 0), "loud": noise(0.03, 1), "middle": noise(0.02, 2)})
    found = measure_sensitivity(list(network.noises), network.build, judge=network.judge())
    assert [layer.layer for layer in found.layers] == ["loud", "middle", "quiet"]
    np.testing.assert_allclose([layer.noise_share for layer in found.layers], [9 / 14, 4 / 14, 1 / 14], rtol=1e-4)
    alone = [expected_db(network.noises[layer.layer]) for layer in found.layers]
    np.testing.assert_allclose([layer.sqnr_only_db for layer in found.layers], alone, atol=DB)
    assert found.sqnr_all_db == pytest.approx(expected_db(*network.noises.values()), abs=DB)
    assert found.images == 5


def test_independent_noises_add_up_to_what_is_measured() -> None:
    network = Network({"a": noise(0.01, 0), "b": noise(0.03, 1)})
    assert measure_sensitivity(["a", "b"], network.build, judge=network.judge()).additivity_db == pytest.approx(
        0, abs=DB
    )


def test_noises_that_move_together_are_3_db_louder_than_their_sum() -> None:
    network = Network({"a": noise(0.02, 0), "b": noise(0.02, 0)})
    found = measure_sensitivity(["a", "b"], network.build, judge=network.judge())
    assert found.additivity_db == pytest.approx(10 * np.log10(1 / 2), abs=DB)
    # Equal shares stay in graph order.
    assert [layer.layer for layer in found.layers] == ["a", "b"]


def test_a_layer_that_changes_no_logit_has_no_share_and_the_file_no_infinity() -> None:
    network = Network({"a": noise(0.01, 0), "still": np.zeros(CLASSES, np.float32)})
    found = measure_sensitivity(["a", "still"], network.build, judge=network.judge())
    assert [(layer.layer, layer.noise_share) for layer in found.layers] == [("a", 1.0), ("still", 0.0)]

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    stored = json.loads(found.model_dump_json(), parse_constant=refuse)
    assert stored["layers"][1] == {
        "layer": "still",
        "sqnr_only_db": None,
        "noise_share": 0.0,
    }


def test_a_network_that_changes_no_logit_has_no_figures() -> None:
    network = Network({"still": np.zeros(CLASSES, np.float32)})
    found = measure_sensitivity(["still"], network.build, judge=network.judge())
    assert (found.sqnr_all_db, found.additivity_db, found.layers[0].noise_share) == (None, None, 0.0)


def test_every_graph_judged_is_one_step_of_progress() -> None:
    network, steps = Network({"a": noise(0.01, 0), "b": noise(0.03, 1)}), []
    judge = network.judge()
    judge.on_candidate = lambda: steps.append(1)
    measure_sensitivity(["a", "b"], network.build, judge=judge)
    assert len(steps) == 3


def test_logits_that_are_not_finite_name_the_layer() -> None:
    network = Network({"fine": noise(0.01, 0), "broken": noise(np.nan, 1)})

    def build(kept: frozenset[str]) -> onnx.ModelProto:
        # Together they are fine: only the layer alone is broken.
        return network.build(kept if kept else frozenset({"broken"}))

    with pytest.raises(CalibrationError, match="with layer broken alone quantised, outputs are NaN"):
        measure_sensitivity(["fine", "broken"], build, judge=network.judge())
