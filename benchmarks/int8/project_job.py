"""Quantise one ONNX network with `calibration`, or only take the statistics: run in a process of its own.

    python -m benchmarks.int8.project_job MODEL.onnx IMAGES PREPROCESSING.json OUTPUT.onnx --options '{"target": "cpu"}'
    python -m benchmarks.int8.project_job MODEL.onnx IMAGES PREPROCESSING.json none --statistics

Beside OUTPUT.onnx it writes OUTPUT.json, what was measured and decided.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from calibration.activations.collect import collect_statistics
from calibration.graph.checks import prepare
from calibration.graph.structure import nonnegative_tensors, relu_partners
from calibration.image_passes import takes_pixels
from calibration.images.sampling import sample_images
from calibration.options import QuantizeOptions
from calibration.qdq.placement import place
from calibration.quantize import quantize_model
from runtime.bundle.manifest import Preprocessing
from runtime.data.batches import load_batches
from runtime.images.preprocessing import normalise
from runtime.support.engine_names import Int8Target

Feed = npt.NDArray[np.generic]


class StreamingPass:
    """The pass over the images that `quantize_model` makes, alone."""

    def __init__(self, model: onnx.ModelProto, *, target: Int8Target = "tensorrt") -> None:
        graph = prepare(model)
        placement = place(graph, target=target, classifier=False, keep_float=frozenset())
        nonnegative = nonnegative_tensors(graph)
        self.model: onnx.ModelProto = ir.to_proto(graph)
        self._partners = relu_partners(graph) if target == "cpu" else {}
        self._tensors = {tensor.name: tensor.name in nonnegative for tensor in placement.activations}

    def run(self, batches: Iterator[Feed]) -> int:
        """Return of how many tensors statistics were taken."""
        return len(collect_statistics(self.model, self._tensors, batches, partners=self._partners))


def feeds(model: onnx.ModelProto, images: Path, preprocessing: Preprocessing, *, count: int) -> Iterator[Feed]:
    """Give the graph's input for the images drawn, batch by batch, decoded ahead."""
    pixels = takes_pixels(model, preprocessing)
    dataset = sample_images(images, count=count).dataset
    with load_batches(dataset, preprocessing, batch_size=QuantizeOptions().batch_size) as loader:
        for batch in loader:
            yield batch.pixels if pixels else normalise(batch.pixels, preprocessing)


def main() -> None:
    """Quantise, or only take the statistics."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("preprocessing", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=512, help="calibration images (default: %(default)s)")
    parser.add_argument("--options", type=json.loads, default={}, help="fields of QuantizeOptions, JSON")
    parser.add_argument("--statistics", action="store_true", help="only the pass over the images")
    arguments = parser.parse_args()
    model = onnx.load(arguments.model)
    preprocessing = Preprocessing.model_validate_json(arguments.preprocessing.read_text(encoding="utf-8"))
    if arguments.statistics:
        StreamingPass(model).run(feeds(model, arguments.images, preprocessing, count=arguments.count))
        return
    options = QuantizeOptions(**arguments.options)
    quantized = quantize_model(model, arguments.images, preprocessing, count=arguments.count, options=options)
    onnx.save(quantized.model, arguments.output)
    arguments.output.with_suffix(".json").write_bytes(quantized.calibration.to_bytes())


if __name__ == "__main__":
    main()
