"""What is mutated, and the tests that judge it: quick ones, because they run once for each mutant."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A part of the project with its tests.

    Attributes:
        sources: Files that are mutated, paths from the repository's root; all Python or all C++.
        tests: Words for pytest that choose the tests.
        packages: What the tests import of others that takes long and starts no threads; imported once for all mutants.
    """

    sources: tuple[str, ...]
    tests: tuple[str, ...]
    packages: tuple[str, ...] = ()


_BASE = ("pytest", "hypothesis", "numpy", "PIL.Image", "xdist.remote")
_ONNX = (*_BASE, "onnx.reference", "onnx_ir", "onnxruntime")


# Left out of the tests are those that export a network or start a process: they take longer than all others together.
JUDGED: Mapping[str, Judged] = {
    "placement of Q/DQ": Judged(
        sources=("calibration/qdq/placement.py",),
        tests=(
            "tests/calibration/qdq/test_placement.py",
            "tests/calibration/search/test_sides.py",
            "tests/calibration/qdq/test_shift.py",
            "-k",
            "not (exported or smaller_range or cache or sum_is_what or taken_back or would)",
        ),
        packages=_ONNX,
    ),
    "thresholds": Judged(
        sources=("calibration/activations/thresholds.py", "calibration/activations/histogram.py"),
        tests=("tests/calibration/activations/test_thresholds.py", "tests/calibration/activations/test_histogram.py"),
        packages=(*_BASE, "scipy.stats"),
    ),
    "writing of Q/DQ": Judged(
        sources=("calibration/qdq/write.py", "calibration/qdq/shift.py"),
        tests=("tests/calibration/qdq/test_write.py", "tests/calibration/qdq/test_shift.py"),
        packages=_ONNX,
    ),
    "rounding of weights": Judged(
        sources=("calibration/weights/rounding.py", "calibration/weights/scales.py"),
        tests=("tests/calibration/weights/test_rounding.py", "tests/calibration/weights/test_scales.py"),
        packages=_BASE,
    ),
    "preprocessing, Python": Judged(
        sources=("runtime/images/preprocessing.py", "runtime/images/colours.py"),
        tests=(
            "tests/runtime/images/test_preprocessing.py",
            "tests/runtime/images/test_resize_modes.py",
            "tests/runtime/images/test_colours.py",
            "tests/runtime/images/test_losses.py",
        ),
        packages=(*_BASE, "pydantic", "torchvision.transforms", "timm.data"),
    ),
    "preprocessing, C++": Judged(
        sources=(
            "runtime/cpp/src/coefficients.cpp",
            "runtime/cpp/src/preprocess.cpp",
            "runtime/cpp/src/resample.cpp",
            "runtime/cpp/src/resample_x86.cpp",
        ),
        tests=("tests/runtime/cpp/test_preprocess.py", "-k", "not (fused or neon or reference or avx2 or no_byte)"),
        packages=(*_BASE, "pydantic"),
    ),
    "manifest": Judged(
        sources=("runtime/bundle/manifest.py",),
        tests=(
            "tests/runtime/bundle/test_manifest.py",
            "tests/runtime/bundle/test_bundle.py",
            "tests/runtime/bundle/test_contract.py",
        ),
        packages=(*_BASE, "pydantic", "onnx"),
    ),
    "paired statistics": Judged(
        sources=(
            "runtime/support/paired_statistics.py",
            "calibration/layers/paired_top1.py",
            "runtime/compare/tally.py",
            "runtime/compare/chance.py",
        ),
        tests=(
            "tests/runtime/support/test_paired_statistics.py",
            "tests/calibration/layers/test_paired_top1.py",
            "tests/runtime/compare/test_tally.py",
            "tests/runtime/compare/test_chance.py",
            "tests/runtime/compare/test_score.py",
        ),
        packages=(*_ONNX, "pydantic", "scipy.stats", "sklearn.metrics", "torch"),
    ),
    "identity of a job": Judged(
        sources=("runtime/embed/output/identity.py",),
        tests=(
            "tests/runtime/embed/output/test_identity.py",
            "tests/runtime/embed/test_append.py",
        ),
        packages=(*_BASE, "pydantic", "onnx", "pandas", "pyarrow.parquet", "torchvision.transforms", "timm.data"),
    ),
}
