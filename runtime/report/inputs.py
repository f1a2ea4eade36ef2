"""Everything that a report is made from, read and checked."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.calibration_json import CalibrationFacts
from runtime.bundle.layout import (
    BENCH_FILE,
    CALIBRATION_FILE,
    CHANGED_FILE,
    COMPARE_FILE,
    NEIGHBOURS_FILE,
    RESULTS_FOLDER,
    SENSITIVITY_FILE,
)
from runtime.bundle.plan_json import Sidecar, build_command, read_sidecar
from runtime.bundle.results.bench_json import BenchResult
from runtime.bundle.results.changed_json import Changes, read_changes
from runtime.bundle.results.compare_json import Comparison
from runtime.bundle.results.neighbours_json import NeighbourCheck, read_neighbours
from runtime.bundle.sensitivity_json import LayerSearch
from runtime.engines.trt.library import LIBRARIES, Library
from runtime.errors import BundleError, UsageError
from runtime.plans.inspector import LayerInformation, read_layer_information
from runtime.support.files import hash_file, read_plain
from runtime.support.json_file import first_problem, read_known, read_versioned

# Of sensitivity.json: how its search went is in no section, so it may be of another version.
_NOT_SHOWN = ("schema_version", "evaluations", "reached", "resumed", "notice")

_Schema = TypeVar("_Schema", bound=BaseModel)


@dataclass(frozen=True)
class ReportRequest:
    """What to report on.

    Attributes:
        bundles: One bundle or more; the first is the one that the others are held against.
        bench: Result of `run-ssl bench`; None for `results/bench.json` of each bundle that has one.
        compare: Result of `run-ssl compare --json`; None for `results/compare.json` likewise.
        changed: Changed images; None for `results/changed.json` likewise.
        max_drop: Largest top-1 drop, a fraction, that the decision accepts for speed.
    """

    bundles: tuple[Path, ...]
    bench: Path | None = None
    compare: Path | None = None
    changed: Path | None = None
    max_drop: float = 0.01


@dataclass(frozen=True)
class Plan:
    """A bundle's plan of TensorRT or of TensorRT for RTX, as it was described when it was built.

    Attributes:
        library: Which of the two built it.
        sidecar: What it was built from and for, and its certificate.
        layers: What the engine inspector or the build's log said; None where that file is absent.
    """

    library: Library
    sidecar: Sidecar
    layers: LayerInformation | None


@dataclass(frozen=True)
class BundleInputs:
    """What one bundle says of itself.

    Attributes:
        bundle: The bundle, its hashes checked.
        calibration: None for a bundle without INT8.
        sensitivity: None where it was not measured.
        plans: Plans of the bundle, at most one of each library.
        neighbours: What `run-ssl embed --check --save` found; None where it was not run.
    """

    bundle: Bundle
    calibration: CalibrationFacts | None
    sensitivity: LayerSearch | None
    plans: tuple[Plan, ...]
    neighbours: NeighbourCheck | None

    @property
    def name(self) -> str:
        """The name of the bundle's folder."""
        return bundle_name(str(self.bundle.path.resolve()))


@dataclass(frozen=True)
class Inputs:
    """Everything that a report is made from.

    Attributes:
        bundles: Bundles in the order given.
        benches: Results of benchmarks, of one machine.
        comparisons: Results of comparisons, on the same images.
        changes: Images whose top-1 class changed.
        max_drop: See `ReportRequest`.
    """

    bundles: tuple[BundleInputs, ...]
    benches: tuple[BenchResult, ...]
    comparisons: tuple[Comparison, ...]
    changes: tuple[Changes, ...]
    max_drop: float

    @property
    def paths(self) -> str:
        """The bundles as one types them."""
        return " ".join(str(one.bundle.path) for one in self.bundles)

    def reports_on(self, bundle: str) -> bool:
        """Return whether a bundle of a result is one of those reported on; a result may hold more."""
        return any(bundle_name(bundle) == one.name for one in self.bundles)


def bundle_name(path: str) -> str:
    """Return the last part of a bundle's path, by which results and bundles are matched."""
    return PurePath(path).name or path


def read_inputs(request: ReportRequest) -> Inputs:
    """Return everything that there is for a report.

    Raises:
        UsageError: There is no bundle, two have one name, or results do not belong together.
        BundleError: A file is damaged or cannot be read.
        EngineError: A plan's layers are not what the inspector writes.
    """
    if not request.bundles:
        raise UsageError("no bundle was given: expected one or more, as `run-ssl report BUNDLE`")
    bundles = tuple(_read_bundle(path) for path in request.bundles)
    names = [bundle.name for bundle in bundles]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two bundles are named {name}: results are stored under this name; rename one of the folders"
            )
    benches = tuple(_read_result(file, BenchResult, "bench") for file in _files(request, request.bench, BENCH_FILE))
    comparisons = tuple(
        _read_result(file, Comparison, "compare") for file in _files(request, request.compare, COMPARE_FILE)
    )
    changes = tuple(read_changes(file) for file in _files(request, request.changed, CHANGED_FILE))
    _check_one_machine(benches)
    _check_same_images(comparisons)
    return Inputs(bundles, benches, comparisons, changes, request.max_drop)


def _read_bundle(path: Path) -> BundleInputs:
    bundle = open_bundle(path)
    neighbours = path / RESULTS_FOLDER / NEIGHBOURS_FILE
    return BundleInputs(
        bundle=bundle,
        calibration=_read_of_export(path / CALIBRATION_FILE, CalibrationFacts),
        sensitivity=_read_of_export(path / SENSITIVITY_FILE, LayerSearch, leave_out=_NOT_SHOWN),
        plans=tuple(plan for library in LIBRARIES.values() if (plan := _read_plan(path, library)) is not None),
        neighbours=read_neighbours(neighbours) if neighbours.exists() else None,
    )


def _read_of_export(file: Path, schema: type[_Schema], *, leave_out: Collection[str] = ()) -> _Schema | None:
    """Return what an export of any version left in a bundle; None where it left none."""
    if not file.exists():
        return None
    try:
        return read_known(file, schema, leave_out=leave_out)
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}; export the bundle again") from error
    except (ValueError, RecursionError) as error:
        reason = first_problem(error) if isinstance(error, ValidationError) else error
        raise BundleError(f"{file} is not what an export writes ({reason}): export again") from error


def _read_plan(path: Path, library: Library) -> Plan | None:
    files = library.files
    if not (path / files.sidecar).exists():
        return None
    sidecar, layers = read_sidecar(path, library.engine), path / files.layers
    if not layers.exists():
        return Plan(library=library, sidecar=sidecar, layers=None)
    try:
        text = read_plain(layers).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{layers} cannot be read ({error}): run `{build_command(path, library.engine)}`") from error
    return Plan(library=library, sidecar=sidecar, layers=read_layer_information(text))


def _files(request: ReportRequest, given: Path | None, default: str) -> list[Path]:
    """Return the file that was given, or the bundles', each once: one run leaves a copy in every bundle."""
    if given is not None:
        return [given]
    files = [file for path in request.bundles if (file := path / RESULTS_FOLDER / default).is_file()]
    return list({hash_file(file): file for file in files}.values())


def _read_result(file: Path, schema: type[_Schema], command: str) -> _Schema:
    try:
        return read_versioned(
            file,
            schema,
            otherwise=f"is not a result of `run-ssl {command}`",
            next_step=f"run `run-ssl {command}` again",
        )
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}; make it with `run-ssl {command}`") from error


def _check_one_machine(benches: tuple[BenchResult, ...]) -> None:
    for other in benches[1:]:
        if other.machine.hardware != benches[0].machine.hardware:
            raise UsageError(
                f"the bundles were benchmarked on different machines ({', '.join(benches[0].machine.hardware)} and"
                f" {', '.join(other.machine.hardware)}): benchmark them in one run, `run-ssl bench A B`, and pass its"
                " file with --bench"
            )


def _check_same_images(comparisons: tuple[Comparison, ...]) -> None:
    for other in comparisons[1:]:
        first = comparisons[0]
        if (other.data.images, other.original.top1) != (first.data.images, first.original.top1):
            raise UsageError(
                f"the bundles were compared on different images ({first.data.images:,} of {first.data.source} and"
                f" {other.data.images:,} of {other.data.source}): compare them in one run, `run-ssl compare A B`, and"
                " pass --compare"
            )
