"""Where a benchmark's result goes: beside what was measured, or where the user says."""

import os
from collections.abc import Sequence
from pathlib import Path

from runtime.bundle.layout import BENCH_FILE, make_results_folder
from runtime.bundle.results.bench_json import BenchResult
from runtime.errors import BundleError
from runtime.support.json_file import write_model


def check_places(bundles: Sequence[Path], output: Path | None) -> None:
    """Refuse places that cannot be written, before the minutes that measuring takes.

    Args:
        bundles: The bundles; what is wrong with one that is absent, its opening says.
        output: The file instead of their `results` folders.

    Raises:
        BundleError: A folder does not exist or cannot be written.
    """
    folders = [output.absolute().parent] if output is not None else [path for path in bundles if path.is_dir()]
    for folder in folders:
        if not folder.is_dir():
            raise BundleError(f"{folder} is not a directory: create it first, or pass another --output")
        if not os.access(folder, os.W_OK):
            raise BundleError(f"cannot write into {folder}: pass another --output, or change its permissions")


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
        write_model(path, result)
    return tuple(paths)
