"""What calibration reads images for: to judge, to measure every tensor, to learn ranges, to round layer by layer.

All see the same pixels, with the same preprocessing, in the form that the network takes. Held-out images are
read once and kept as pixels or normalised floats; the others pass through the network once, and the first
`QuantizeOptions.kept_images` of them are kept as pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto

from calibration.activations.activation_statistics import TensorStatistics
from calibration.activations.collect import collect_statistics
from calibration.graph.channel_groups import channel_groups
from calibration.graph.run import judged_outputs, run_outputs
from calibration.graph.without_weights import Skeleton
from calibration.images.lint import PixelLint
from calibration.options import QuantizeOptions
from calibration.qdq.placement import QuantizedTensor
from calibration.search.judge import Judge, spread
from calibration.search.learn_ranges import IMAGES_A_STEP, STEPS, Ranges, learn_ranges
from calibration.weights.second_moments import LayerMoments, Step, collect_moments
from runtime.bundle.manifest import Preprocessing
from runtime.data.batches import Loader, Unreadable, load_batches
from runtime.data.dataset import Dataset
from runtime.errors import GraphError
from runtime.images.preprocessing import normalise
from runtime.support.arrays import Feed, Pixels
from runtime.support.progress import Listener

_IMAGES_OF_MOMENTS = 2


class ImagePasses:
    """The passes of one calibration over its images.

    Args:
        network: The float network, its large constants apart.
        preprocessing: Preprocessing from image file to pixels, as for evaluation.
        options: How to quantise.
        listener: Receiver of the progress.

    Raises:
        GraphError: The network takes neither pixels nor normalised floats of this preprocessing.
    """

    def __init__(
        self, network: Skeleton, preprocessing: Preprocessing, options: QuantizeOptions, listener: Listener
    ) -> None:
        self._network, self._preprocessing, self._options, self._listener = network, preprocessing, options, listener
        self._takes_pixels = takes_pixels(network.model, preprocessing)
        self._kept: list[Pixels] = []

    def feed(self, pixels: Pixels) -> Feed:
        """Return what the network takes for pixels, (N, H, W, C) uint8."""
        return pixels if self._takes_pixels else normalise(pixels, self._preprocessing)

    def judge(self, held_out: Dataset, lint: PixelLint) -> tuple[Judge, list[Unreadable]]:
        """Return the held-out images with the float network's outputs, and those that were left out."""
        batches = []
        with self._load(held_out) as loader:
            for batch in loader:
                lint.add(batch.pixels)
                batches.append(self.feed(batch.pixels))
        lint.lost += loader.lost
        batches = spread(batches)
        model, weights = self._network.model, self._network.weights
        reference = run_outputs(model, judged_outputs(model), batches, weights=weights, threads=self._options.threads)
        judge = Judge(batches, reference, self._options.threads, on_candidate=lambda: self._listener.on_steps(1))
        return judge, loader.unreadable

    def measure(
        self, images: Dataset, tensors: Mapping[str, bool], lint: PixelLint, partners: Mapping[str, str]
    ) -> tuple[dict[str, TensorStatistics], list[Unreadable]]:
        """Return the statistics of tensors, and the images that were left out; keep pixels for `learn` and `moments`.

        Args:
            images: The images that are not held out.
            tensors: Name of every tensor to measure, to whether it is never negative.
            lint: Receiver of every batch of pixels.
            partners: Result of `relu_partners`.
        """
        self._listener.on_stage("calibration images", len(images))
        with self._load(images) as loader:

            def feeds() -> Iterator[Feed]:
                for batch in loader:
                    lint.add(batch.pixels)
                    missing = self._options.kept_images - sum(map(len, self._kept))
                    if missing > 0:
                        self._kept.append(batch.pixels[:missing].copy())
                    yield self.feed(batch.pixels)
                    self._listener.on_steps(len(batch.pixels))

            model, weights = self._network.model, self._network.weights
            statistics = collect_statistics(
                model, tensors, feeds(), partners=partners, weights=weights, threads=self._options.threads
            )
        lint.lost += loader.lost
        return statistics, loader.unreadable

    def moments(self, model: ir.Model, steps: Mapping[str, Step]) -> Iterator[tuple[str, LayerMoments]]:
        """Yield every layer's second moments on the first pixels that `measure` kept, as `collect_moments` does."""
        self._listener.on_stage("layer-wise rounding", len(steps))
        # What every layer reads leaves onnxruntime here: few images at a time keep that small.
        split = self._again(self._options.rounding_images, _IMAGES_OF_MOMENTS)
        for found in collect_moments(model, steps, map(self.feed, split), threads=self._options.threads):
            yield found
            self._listener.on_steps(1)
        self._listener.on_stage("candidates", None)

    def learn(
        self, model: ir.Model, tensors: Sequence[QuantizedTensor], start: Ranges, zero_points: Mapping[str, int]
    ) -> Ranges | None:
        """Return ranges learned on the pixels that `measure` kept, as `learn_ranges` does.

        Args:
            model: The float32 graph, which PyTorch can run.
            tensors: What is quantised.
            start: Where it begins.
            zero_points: Tensor name to the level of zero, of 256.
        """
        options = self._options
        batches = list(self._again(options.learning_images, IMAGES_A_STEP))
        self._listener.on_stage("ranges from gradients", len(batches) + STEPS)
        learned = learn_ranges(
            model,
            tensors,
            channel_groups(model) if options.equalize else (),
            start,
            batches,
            feed=self.feed,
            outputs=judged_outputs(self._network.model),
            zero_points=zero_points,
            on_batch=lambda: self._listener.on_steps(1),
        )
        self._listener.on_stage("candidates", None)
        return learned

    def _again(self, most: int, images: int) -> Iterator[Pixels]:
        """Yield the first pixels that `measure` kept, so many images at a time."""
        kept = islice((image for pixels in self._kept for image in pixels), most)
        while batch := list(islice(kept, images)):
            yield np.stack(batch)

    def _load(self, images: Dataset) -> Loader:
        return load_batches(
            images,
            self._preprocessing,
            batch_size=self._options.batch_size,
            workers=self._options.workers,
            skip_unreadable=self._options.skip_unreadable,
        )


def takes_pixels(model: onnx.ModelProto, preprocessing: Preprocessing) -> bool:
    """Return whether a graph takes uint8 pixels, (N, H, W, C), and not normalised floats, (N, C, H, W).

    Raises:
        GraphError: The graph has another input.
    """
    height, width, channels = preprocessing.pixels_shape
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    given = ", ".join(onnx.helper.printable_value_info(value) for value in inputs)
    if len(inputs) == 1:
        kind = inputs[0].type.tensor_type
        shape = tuple(dim.dim_value for dim in kind.shape.dim)
        for element, wanted in (
            (TensorProto.UINT8, (height, width, channels)),
            (TensorProto.FLOAT, (channels, height, width)),
        ):
            if kind.elem_type == element and shape[1:] == wanted:
                return element == TensorProto.UINT8
    raise GraphError(
        f"the graph takes {given}: expected one input, uint8 (N, {height}, {width}, {channels}) or float32 "
        f"(N, {channels}, {height}, {width}) with a fixed height and width; set them, or image_size in the "
        "preprocessing"
    )
