"""What is mutated, and the tests that judge it: quick ones, because they run once for each mutant."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A part of the project with its tests.

    Attributes:
        sources: Files that are mutated, paths from the repository's root; all Python or all C++.
        tests: Words for pytest that choose the tests.
    """

    sources: tuple[str, ...]
    tests: tuple[str, ...]


# Left out of the tests are those that export a network or start a process: they take longer than all others together.
JUDGED: Mapping[str, Judged] = {
    "placement of Q/DQ": Judged(
        sources=("calibration/qdq/placement.py",),
        tests=("tests/calibration/qdq/test_placement.py", "-k", "not exported"),
    ),
    "thresholds": Judged(
        sources=("calibration/activations/thresholds.py", "calibration/activations/histogram.py"),
        tests=("tests/calibration/activations/test_thresholds.py", "tests/calibration/activations/test_histogram.py"),
    ),
    "writing of Q/DQ": Judged(
        sources=("calibration/qdq/write.py", "calibration/qdq/shift.py"),
        tests=("tests/calibration/qdq/test_write.py", "tests/calibration/qdq/test_shift.py"),
    ),
    "rounding of weights": Judged(
        sources=("calibration/weights/rounding.py", "calibration/weights/scales.py"),
        tests=("tests/calibration/weights/test_rounding.py", "tests/calibration/weights/test_scales.py"),
    ),
    "preprocessing, Python": Judged(
        sources=("runtime/images/preprocessing.py", "runtime/images/colours.py"),
        tests=(
            "tests/runtime/images/test_preprocessing.py",
            "tests/runtime/images/test_resize_modes.py",
            "tests/runtime/images/test_colours.py",
        ),
    ),
    "preprocessing, C++": Judged(
        sources=(
            "runtime/cpp/src/coefficients.cpp",
            "runtime/cpp/src/preprocess.cpp",
            "runtime/cpp/src/resample.cpp",
            "runtime/cpp/src/resample_x86.cpp",
        ),
        tests=("tests/runtime/cpp/test_preprocess.py", "-k", "not (fused or neon or reference or avx2 or no_byte)"),
    ),
    "manifest": Judged(
        sources=("runtime/bundle/manifest.py",),
        tests=(
            "tests/runtime/bundle/test_bundle.py",
            "tests/runtime/bundle/test_contract.py",
            "tests/runtime/images/test_resize_modes.py",
        ),
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
    ),
    "identity of a job": Judged(
        sources=("runtime/embed/output/identity.py",),
        tests=(
            "tests/runtime/embed/test_job.py",
            "tests/runtime/embed/test_append.py",
            "-k",
            "another or same or older or damaged or append or added",
            "-m",
            "not slow",
        ),
    ),
}
