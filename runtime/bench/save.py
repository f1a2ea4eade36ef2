"""Where a benchmark's result goes: beside what was measured, or where the user says."""

from collections.abc import Sequence
from pathlib import Path

from runtime.bench.result import BenchResult
from runtime.files import atomic_file
from runtime.results import BENCH_FILE, make_results_folder


def save_result(result: BenchResult, bundles: Sequence[Path], output: Path | None) -> tuple[Path, ...]:
    """Write a result and return where it is.

    Args:
        result: The result.
        bundles: The bundles that were measured; without `output` each gets a copy, in its `results` folder.
        output: One file instead.

    Raises:
        BundleError: A folder cannot be written.
    """
    paths = [output] if output is not None else [make_results_folder(bundle) / BENCH_FILE for bundle in bundles]
    for path in paths:
        with atomic_file(path) as file:
            file.write((result.model_dump_json(indent=2) + "\n").encode())
    return tuple(paths)
