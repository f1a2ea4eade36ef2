"""An ONNX ResNet and a folder of images in, a Q/DQ ONNX out.

    model ─► check, place ─► one pass over the images ─► choose ─► write Q/DQ
                                │
                        every tensor's statistics, in fixed memory

1. Images are drawn from the folder with a seed, balanced over class folders. One in eight is held out: it
   is what candidates are judged on, and nothing else sees it.
2. The others pass through the float network once. The first `rounding_images` of them are kept as pixels:
   layer-wise rounding looks at them again.
3. With a cache file, everything that was decided is read instead, if graph, weights, images and options
   are the same; otherwise the difference is named.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from calibration.graph.checks import check_finite, prepare
from calibration.graph.in_torch import unsupported
from calibration.graph.structure import nonnegative_tensors, relu_partners
from calibration.graph.without_weights import Skeleton, without_weights
from calibration.image_passes import ImagePasses
from calibration.images.fingerprint import make_fingerprint
from calibration.images.lint import Finding, PixelLint, hash_images, lint_sample, lint_unreadable, raise_refusals
from calibration.images.sampling import CalibrationSample, sample_images, split_held_out
from calibration.options import QuantizeOptions
from calibration.qdq.placement import Placement, either_sides, place
from calibration.search.calibration_cache import check_cache_target, read_cache, write_cache
from calibration.search.choose import Chooser
from calibration.search.describe import describe_calibration
from calibration.search.judge import Judge
from calibration.search.parts import Parts, parts_from_arrays
from calibration.search.scaled import LEARNED, Learn
from calibration.search.sides import smaller_main_sides
from runtime.bundle.calibration_json import Calibration, Fingerprint
from runtime.bundle.manifest import Preprocessing
from runtime.data.dataset import Dataset
from runtime.support.arrays import Feed, Pixels
from runtime.support.progress import Listener

_NOT_LEARNED = "ranges were not learned from gradients"


@dataclass(frozen=True)
class QuantizedModel:
    """A quantised network.

    Attributes:
        model: float32 with Q/DQ, checked.
        calibration: What was measured and decided; the content of calibration.json.
        parts: What `model` was written from.
        placement: Which tensors and weights are quantised.
        findings: What is wrong with the images, but not so wrong as to refuse them.
        open_judge: Gives the held-out images with the float network's outputs.
        float_graph: The float network that it was made from, its large constants apart.
        feed: Function from pixels, (N, H, W, C) uint8, to what both networks take.
        options: What it was told.
    """

    model: onnx.ModelProto
    calibration: Calibration
    parts: Parts
    placement: Placement
    findings: tuple[Finding, ...]
    open_judge: Callable[[], Judge]
    float_graph: Skeleton
    feed: Callable[[Pixels], Feed]
    options: QuantizeOptions

    @property
    def float_model(self) -> onnx.ModelProto:
        """The float network that it was made from, copied together with its weights."""
        return self.float_graph.whole()


def quantize_model(
    model: onnx.ModelProto | ir.Model,
    images: Path,
    preprocessing: Preprocessing,
    *,
    count: int = 512,
    seed: int = 0,
    leave_out: frozenset[str] = frozenset(),
    options: QuantizeOptions | None = None,
    fp16: bool = False,
    eval_data: Path | None = None,
    cache: Path | None = None,
    listener: Listener | None = None,
) -> QuantizedModel:
    """Return the network with explicit Q/DQ, calibrated on images.

    Args:
        model: A float32 ResNet with BatchNorm folded, opset 13 or newer; its one input takes (N, H, W, C) uint8
            pixels, or (N, C, H, W) float32 that is normalised by `preprocessing`. Not changed; of onnx-ir's
            graph the weights are used where they are.
        images: A folder of class folders or images, tar shards, Parquet files, or a list.
        preprocessing: Preprocessing from image file to pixels, as for evaluation.
        count: How many images to draw.
        seed: Seed of the random draw.
        leave_out: Names of images, from the folder, that are not used: others judge the result on them.
        options: How to quantise.
        fp16: Whether what is not INT8 will be FP16 (`exporter.passes.fp16`): scales are then numbers that FP16 holds.
        eval_data: What accuracy will be measured on; images in both are found.
        cache: A file that keeps what was decided; read if it exists, written if not.
        listener: Receiver of the progress.

    Raises:
        DataError: The images cannot be used.
        GraphError: The graph cannot be quantised; the message says what to do.
        CalibrationError: A weight or an activation is NaN or infinite, or the cache belongs to something else,
            is damaged, or cannot be written where it should be.
    """
    run = _Calibration(model, preprocessing, options or QuantizeOptions(), listener or Listener(), fp16=fp16)
    sample = sample_images(images, count=count, seed=seed, leave_out=leave_out)
    return run.run(sample, eval_data=eval_data, cache=cache)


class _Calibration:
    """One run of `quantize_model`."""

    def __init__(
        self,
        model: onnx.ModelProto | ir.Model,
        preprocessing: Preprocessing,
        options: QuantizeOptions,
        listener: Listener,
        *,
        fp16: bool,
    ) -> None:
        self._graph = prepare(model)
        check_finite(self._graph)
        # Over the same arrays: the weights are held once.
        self._float = without_weights(self._graph)
        self._images = ImagePasses(self._float, preprocessing, options, listener)
        self._preprocessing, self._options, self._listener = preprocessing, options, listener
        self._fp16 = fp16
        self._placement = self._place(frozenset())
        # Which side of these Adds has the pair, what the tensors do decides.
        self._sides = either_sides(self._graph, self._placement)

    def run(self, sample: CalibrationSample, *, eval_data: Path | None, cache: Path | None) -> QuantizedModel:
        if cache is not None:
            check_cache_target(cache)
        self._listener.on_stage("check the images", None)
        hashes = hash_images(sample.dataset)
        findings = [*lint_sample(sample, hashes, eval_data=eval_data)]
        raise_refusals(findings)
        options = self._options.for_fingerprint(fp16=self._fp16) | {"seed": str(sample.seed)}
        fingerprint = make_fingerprint(
            self._float.model,
            hashes,
            preprocessing=self._preprocessing,
            options=options,
            weights=self._float.weights,
        )
        measured, held_out = split_held_out(sample)
        if cache is not None and cache.exists():
            calibration, arrays = read_cache(cache, fingerprint)
            pairs = {tensor.name for tensor in calibration.activations}
            self._placement = self._place(frozenset(side.add for side in self._sides if side.main in pairs))
            parts = parts_from_arrays(self._graph, calibration, arrays)
        else:
            calibration, parts = self._calibrate(measured, held_out, sample.folder, fingerprint)
            if cache is not None:
                write_cache(cache, calibration, parts.arrays())
        return QuantizedModel(
            model=parts.build(self._placement, float_weights=self._options.float_weights),
            calibration=calibration,
            parts=parts,
            placement=self._placement,
            findings=(*findings, *(Finding("warning", text) for text in calibration.warnings)),
            open_judge=lambda: self._images.judge(held_out, PixelLint())[0],
            float_graph=self._float,
            feed=self._images.feed,
            options=self._options,
        )

    def _calibrate(
        self, measured: Dataset, held_out: Dataset, folder: Path, fingerprint: Fingerprint
    ) -> tuple[Calibration, Parts]:
        lint = PixelLint()
        judge, unreadable = self._images.judge(held_out, lint)
        # Where zero stands in the middle, what lies below it costs no level.
        partners = relu_partners(self._graph) if self._options.target == "cpu" else {}
        statistics, also_unreadable = self._images.measure(measured, self._tensors(), lint, partners)
        unreadable += also_unreadable
        findings = (
            *lint.finish(),
            *lint_unreadable(unreadable, folder=folder, remaining=lint.images),
        )
        raise_refusals(findings)
        self._placement = self._place(smaller_main_sides(self._sides, statistics))
        statistics = {tensor.name: statistics[tensor.name] for tensor in self._placement.activations}
        self._listener.on_stage("candidates", None)
        chooser = Chooser(self._placement, judge, self._options, fp16=self._fp16)
        learn, without = self._learning()
        choice = chooser.choose(self._graph, statistics, self._images.moments, learn)
        if learn is not None and not any(one.name.endswith(LEARNED) for one in choice.candidates):
            without = (f"{_NOT_LEARNED}: an output of the network is zero on all images, or not finite",)
        calibration = describe_calibration(
            choice,
            self._placement,
            statistics,
            fingerprint=fingerprint,
            held_out=judge.images,
            warnings=(*(finding.text for finding in findings), *without),
            graph=self._graph,
        )
        return calibration, choice.parts

    def _learning(self) -> tuple[Learn | None, tuple[str, ...]]:
        """Return what learns ranges, None where it is not asked for or cannot; and then the warning."""
        if not self._options.learns:
            return None, ()
        missing = unsupported(self._graph)
        if missing is None:
            return self._images.learn, ()
        return None, (f"{_NOT_LEARNED}: the graph has {missing}, which is not run in PyTorch",)

    def _tensors(self) -> dict[str, bool]:
        """Return the name of every tensor that may be quantised, to whether it is never negative."""
        nonnegative = nonnegative_tensors(self._graph)
        names = [tensor.name for tensor in self._placement.activations] + [side.main for side in self._sides]
        return {name: name in nonnegative for name in names}

    def _place(self, main_sides: frozenset[str]) -> Placement:
        options = self._options
        return place(
            self._graph,
            target=options.target,
            classifier=options.classifier,
            keep_float=options.keep_float,
            main_sides=main_sides,
        )
