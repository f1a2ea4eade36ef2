"""Which tests are left out of `make fast`, and what one worker of pytest-xdist runs together and when.

Markers are given by folder and file here, and by `pytest.mark.slow` at a test that takes over five seconds among
quick ones. `tests/house/test_tree.py` holds every package to a test that `make fast` runs.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Marker, and the files and folders below `tests/` that have it.
MARKED: dict[str, tuple[str, ...]] = {
    "cpp": ("runtime/cpp/", "runtime/images/test_native.py", "exporter/writing/test_cpp_project.py"),
    "ray": (
        "runtime/compare/test_ray_job.py",
        "runtime/compare/test_ray_neighbours.py",
        "runtime/embed/test_ray_job.py",
    ),
    "browser": ("runtime/report/test_browser.py", "runtime/search/test_page_in_browser.py"),
    # Each starts a process for nearly every test, exports a network again, or builds networks that are large.
    "slow": (
        "documents/",
        "exporter/checks/test_tolerance_search.py",
        "exporter/passes/test_fix_batch.py",
        "exporter/passes/test_opset.py",
        "exporter/passes/test_tracing.py",
        "exporter/test_channels.py",
        "exporter/test_cli.py",
        "exporter/test_foreign_checkpoints.py",
        "exporter/test_int8.py",
        "exporter/test_plan.py",
        "house/test_loaded_modules.py",
        "mutation/",
        "runtime/bench/limits/test_layer_times.py",
        "runtime/bench/test_on_standin.py",
        "runtime/bench/test_turns.py",
        "runtime/commands/test_bench.py",
        "runtime/commands/test_build.py",
        "runtime/commands/test_compare.py",
        "runtime/commands/test_compare_backbone.py",
        "runtime/commands/test_embed_check.py",
        "runtime/embed/neighbours/test_check.py",
        "runtime/embed/output/test_readers.py",
        "runtime/embed/test_kill.py",
        "runtime/engines/trt/test_lane.py",
        "runtime/engines/trt/test_trt_engine.py",
        "runtime/engines/trt/test_rtx_engine.py",
        "runtime/engines/trt/test_cuda_calls.py",
        "runtime/original/test_flops.py",
        "runtime/original/test_hub.py",
        "runtime/original/test_random_weights.py",
        "runtime/plans/test_build_plan.py",
        "runtime/plans/test_foreign_graph.py",
        "runtime/plans/test_rtx_builds.py",
        "runtime/plans/test_parse_onnx.py",
        "tensorrt_bindings/",
        "torture/",
    ),
}
LEFT_OUT = (*MARKED, "gpu")
# The longest first, so that the workers end together; what is not named comes behind, in its own order.
_FIRST = (
    "cpp",
    "exporter/test_int8.py",
    "runtime/engines/trt/test_lane.py",
    "ray",
    "runtime/commands/test_build.py",
    "exporter/test_cli.py",
    "runtime/commands/test_bench.py",
    "runtime/embed/test_kill.py",
    "runtime/plans/",
    "runtime/bench/",
    "tensorrt_bindings/",
)


def markers_of(file: str) -> list[str]:
    """Return the markers of a test file, whose path is from `tests/`."""
    return [marker for marker, places in MARKED.items() if file.startswith(places)]


def unit_of(file: str) -> str:
    """Return what a file is run together with, in one worker.

    A file's own fixtures are made once then. C++ is built under one lock, and Ray takes all processors: two workers
    at it would wait for each other.
    """
    return next((marker for marker in ("cpp", "ray") if marker in markers_of(file)), file)


def rank(file: str) -> int:
    """Return a file's place in the order of a run."""
    unit = unit_of(file)
    return next((place for place, first in enumerate(_FIRST) if unit.startswith(first)), len(_FIRST))


class NameFailures:
    """Names a test as soon as it fails: a run that is ended from outside never prints its summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a line for a failure, with what it says."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter is not None and self._config.get_verbosity() <= 0:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = str(crash.message if crash is not None else report.longrepr).strip().partition("\n")[0]
            reporter.write_line(f"\n{report.outcome} in {report.when}: {report.nodeid}: {said}", red=True)


class ByUnit(LoadScopeScheduling):  # type: ignore[misc]
    """Gives whole units to the workers, in the order of the collection."""

    def __init__(self, config: object, log: Producer | None = None) -> None:
        super().__init__(config, log)
        self.config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid.partition("::")[0].removeprefix("tests/"))
