from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from calibration.layers import layer_latency
from calibration.layers.layer_latency import EngineName, fastest_engine, measure_latency
from runtime.errors import EngineError
from tests.helpers.graphs import make_model

FEED = np.ones((1, 3), np.float32)


def graph(operator: str = "Relu") -> onnx.ModelProto:
    return make_model(
        [helper.make_node(operator, ["x"], ["logits"])], {}, input_shape=("batch", 3), outputs={"logits": ("batch", 3)}
    )


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_every_graph_gets_a_latency_in_its_place(engine: EngineName) -> None:
    graphs = [graph, lambda: graph("Sqrt")]
    latencies_ms = measure_latency(graphs, FEED, engine=engine, rounds=1, threads=1)
    assert len(latencies_ms) == 2
    assert min(latencies_ms) > 0


@pytest.mark.parametrize(("rounds", "runs"), [(1, 50), (4, 13), (10, 10)])
def test_graphs_take_turns_and_medians_are_over_all_rounds(
    monkeypatch: pytest.MonkeyPatch, rounds: int, runs: int
) -> None:
    opened: list[str] = []
    # The clock gives 2 ms to a run of the first graph and 7 to one of the second.
    now = {"s": 0.0}

    def open_fake(model: onnx.ModelProto, _threads: int | None) -> Any:
        operator = model.graph.node[0].op_type
        opened.append(operator)

        def infer(_feed: np.ndarray) -> None:
            calls[operator] = calls.get(operator, 0) + 1
            now["s"] += {"Relu": 0.002, "Sqrt": 0.007}[operator]

        return infer

    calls: dict[str, int] = {}
    monkeypatch.setitem(layer_latency._OPENERS, "onnxruntime", open_fake)
    monkeypatch.setattr(layer_latency, "time", SimpleNamespace(perf_counter=lambda: now["s"]))
    steps: list[int] = []
    graphs = [graph, lambda: graph("Sqrt")]
    latencies_ms = measure_latency(graphs, FEED, engine="onnxruntime", rounds=rounds, on_graph=steps.append)
    assert sum(steps) == 2 * rounds
    np.testing.assert_allclose(latencies_ms, [2, 7], rtol=1e-6)
    assert opened == ["Relu", "Sqrt"] * rounds
    warm_up = 5
    assert calls == {"Relu": rounds * (runs + warm_up), "Sqrt": rounds * (runs + warm_up)}


@pytest.mark.parametrize(
    ("installed", "expected"), [(("openvino", "onnxruntime"), "openvino"), (("onnxruntime",), "onnxruntime")]
)
def test_openvino_is_preferred_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], expected: str
) -> None:
    monkeypatch.setattr(layer_latency, "installed_engines", lambda: installed)
    assert fastest_engine() == expected


def test_an_engine_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_latency, "installed_engines", lambda: ())
    with pytest.raises(EngineError, match=r"^openvino is not installed: pip install"):
        measure_latency([graph], FEED, engine="openvino")
    with pytest.raises(EngineError, match=r"^no engine is installed: pip install"):
        fastest_engine()


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_graph_that_an_engine_cannot_open_is_an_error_of_one_line(engine: EngineName) -> None:
    broken = graph()
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(EngineError, match=r"cannot (compile|load) the graph") as error:
        measure_latency([lambda: broken], FEED, engine=engine)
    assert "\n" not in str(error.value)
