"""What single layers cost, and which ones stay float for the sake of accuracy."""

import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from calibration.images.lint import hash_images
from calibration.layers.layer_latency import fastest_engine, measure_latency
from calibration.layers.max_drop import MaxDropResult, find_fewest_layers
from calibration.layers.paired_top1 import FindHits, count_paired, graph_infer, neighbour_hits, top1_hits
from calibration.layers.sensitivity import Build, measure_sensitivity
from calibration.layers.sensitivity_plot import draw_sensitivity
from calibration.qdq.placement import Placement, place
from calibration.quantize import QuantizedModel
from calibration.search.judge import Judge
from runtime.bundle.layout import SENSITIVITY_FILE, SENSITIVITY_PLOT
from runtime.bundle.sensitivity_json import Figure, FloatLayer, LayerSearch, PairedCounts
from runtime.data.batches import Loader, load_batches
from runtime.data.dataset import Dataset
from runtime.data.open_images import open_images
from runtime.support.progress import Listener

_BATCH = 16
_LATENCY_ROUNDS = 5


@dataclass(frozen=True)
class LayerQuestion:
    """What is asked.

    Attributes:
        max_drop: Largest paired drop in top-1, or without a classifier in k-NN accuracy, a fraction; None to measure
            sensitivity only.
        eval_data: Labelled images that it is measured on; needed with `max_drop`.
        labels: Class names, one per output; none without a classifier.
        state: File that keeps the evaluations of an interrupted search; gone when it has ended.
    """

    max_drop: float | None
    eval_data: Path | None
    labels: tuple[str, ...]
    state: Path

    @property
    def figure(self) -> Figure:
        """What the budget is of."""
        return "top-1" if self.labels else "k-NN accuracy"


def sensitivity_files(report: LayerSearch, title: str) -> dict[str, bytes]:
    """Return the bundle's files on what single layers cost: the figures, and a plot with a title."""
    text = json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    return {
        SENSITIVITY_FILE: text.encode(),
        SENSITIVITY_PLOT: draw_sensitivity(report.sensitivity, title=title),
    }


def search_layers(
    quantized: QuantizedModel, question: LayerQuestion, listener: Listener
) -> tuple[QuantizedModel, LayerSearch]:
    """Return the network with as many float layers as the budget asks for, and what was measured.

    Raises:
        CalibrationError: The budget cannot be met.
        DataError: The evaluation images cannot be used.
    """
    layers = quantized.placement.weights
    judge = quantized.open_judge()

    def candidate(kept: frozenset[str]) -> onnx.ModelProto:
        return quantized.parts.candidate(_place(quantized, kept), float_weights=quantized.options.float_weights)

    listener.on_stage("sensitivity", len(layers) + 1)
    sensitivity = measure_sensitivity(layers, candidate, judge=judge)
    report = LayerSearch(sensitivity=sensitivity)
    if question.max_drop is None:
        return quantized, report
    ranked = [layer.layer for layer in sensitivity.layers]
    found = _search(quantized, question, ranked, build=candidate, listener=listener)
    report = report.model_copy(
        update={
            "max_drop": question.max_drop,
            "figure": question.figure,
            "evaluations": found.evaluations,
            "reached": found.reached,
            "resumed": found.reused,
            "notice": found.notice,
        }
    )
    if found.kept_float:
        report = report.model_copy(update=_latencies(found.kept_float, candidate, judge.batches[0][:1], listener))
        quantized = _keep_float(quantized, found.kept_float, judge)
    question.state.unlink(missing_ok=True)
    return quantized, report


def _latencies(
    kept: tuple[str, ...], build: Build, feed: npt.NDArray[np.generic], listener: Listener
) -> dict[str, Any]:
    """Return the fields of the report on what each layer kept float costs."""
    graphs = [partial(build, frozenset(kept[:count])) for count in range(len(kept) + 1)]
    listener.on_stage("latency", _LATENCY_ROUNDS * len(graphs))
    engine = fastest_engine()
    taken = measure_latency(graphs, feed, engine=engine, rounds=_LATENCY_ROUNDS, on_graph=listener.on_steps)
    costs = [after - before for before, after in pairwise(taken)]
    layers = tuple(FloatLayer(layer=layer, cost_ms=round(cost, 4)) for layer, cost in zip(kept, costs, strict=True))
    return {"engine": engine, "int8_ms": round(taken[0], 4), "float_layers": layers}


def _keep_float(quantized: QuantizedModel, kept: tuple[str, ...], judge: Judge) -> QuantizedModel:
    """Return the network with some more layers float, and what calibration.json then says."""
    placement = _place(quantized, frozenset(kept))
    model = quantized.parts.build(placement, float_weights=quantized.options.float_weights)
    calibration = quantized.calibration
    placement, scales = quantized.parts.for_placement(placement)
    unsigned = {tensor.name: tensor.unsigned for tensor in placement.activations}
    changed = calibration.model_copy(
        update={
            "activations": tuple(
                tensor.model_copy(update={"scale": scales[tensor.name], "unsigned": unsigned[tensor.name]})
                for tensor in calibration.activations
                if tensor.name in unsigned
            ),
            "layers": placement.weights,
            "float_layers": (*calibration.float_layers, *kept),
            "held_out_sqnr_db": round(judge.sqnr_db(model), 3),
        }
    )
    return replace(quantized, model=model, placement=placement, calibration=changed)


def _place(quantized: QuantizedModel, kept: frozenset[str]) -> Placement:
    """Return the placement with some more layers float."""
    placement = quantized.placement
    return place(
        quantized.parts.model,
        target=placement.target,
        classifier=placement.classifier,
        keep_float=kept | quantized.options.keep_float,
        main_sides=placement.main_sides,
    )


def _search(
    quantized: QuantizedModel,
    question: LayerQuestion,
    ranked: list[str],
    *,
    build: Build,
    listener: Listener,
) -> MaxDropResult:
    assert question.max_drop is not None
    assert question.eval_data is not None
    images = open_images(str(question.eval_data), question.labels)
    assert isinstance(images, Dataset), "a path is no stream"
    preprocessing = quantized.calibration.fingerprint.preprocessing

    def load() -> AbstractContextManager[Loader]:
        return load_batches(images, preprocessing, batch_size=_BATCH)

    find_hits: FindHits = top1_hits if question.labels else neighbour_hits
    listener.on_stage(f"{question.figure} of the float network", len(images))
    original = quantized.float_graph
    float_hits = find_hits(
        graph_infer(original.model, quantized.feed, weights=original.weights), load, on_images=listener.on_steps
    )

    def evaluate(kept: frozenset[str]) -> PairedCounts:
        listener.on_stage(f"{question.figure} with {len(kept)} of {len(ranked)} layers float", len(images))
        infer = graph_infer(build(kept), quantized.feed)
        return count_paired(infer, load, original=float_hits, find_hits=find_hits, on_images=listener.on_steps)

    try:
        return find_fewest_layers(
            ranked,
            evaluate,
            budget=question.max_drop,
            progress=question.state,
            state_key=_key(quantized, images, question.labels),
        )
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(
            f"{question.state} keeps what was measured; run the same command again to resume"
        ) from interrupt


def _key(quantized: QuantizedModel, images: Dataset, labels: tuple[str, ...]) -> str:
    """Return a sha256 over everything that decides an evaluation."""
    digest = hashlib.sha256(quantized.model.SerializeToString(deterministic=True))
    digest.update(quantized.calibration.fingerprint.model_dump_json().encode())
    digest.update(json.dumps([list(hash_images(images).items()), labels]).encode())
    return digest.hexdigest()
