"""Where measurements of a bundle are kept: its `results` folder, which no manifest lists."""

from pathlib import Path

from runtime.errors import BundleError

RESULTS_FOLDER = "results"
BENCH_FILE = "bench.json"
COMPARE_FILE = "compare.json"


def make_results_folder(bundle: Path) -> Path:
    """Return a bundle's `results` folder, made if there is none.

    Raises:
        BundleError: It cannot be made.
    """
    folder = bundle / RESULTS_FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise BundleError(f"cannot write {folder}: {error.strerror}; copy the bundle to where you may write") from error
    return folder
