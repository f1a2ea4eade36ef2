"""One benchmark from start to end: subjects, measurement, peers, the machine and its limit, the result."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path

from runtime.bench.figures.curve import choose_batches
from runtime.bench.figures.percentiles import describe_latency
from runtime.bench.limits.limit import find_limits
from runtime.bench.machine.describe import describe_machine
from runtime.bench.machine.noise import NoiseWatch
from runtime.bench.peers.names import PROGRAMS, equivalent_commands, missing_peers, run_program
from runtime.bench.subjects import Subject, bundle_labels, list_subjects, subject_name
from runtime.bench.turns import Effort, Times, measure
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.results.bench_json import BenchResult, Measured, Scope
from runtime.errors import UsageError
from runtime.support.engine_names import DISTRIBUTIONS
from runtime.support.progress import Listener

# Their versions decide speed.
PACKAGES = ("numpy", *sorted(chain.from_iterable(DISTRIBUTIONS.values())), "export-ssl")


@dataclass(frozen=True)
class BenchRequest:
    """What to measure and how.

    Attributes:
        bundles: Bundles of one network.
        engines: Names as `--engines` takes them; empty for all that can run each bundle.
        peers: Peers by name; `all` for every one that is installed.
        batches: Images per call.
        threads: Threads for one call; None is the engine's choice.
        scope: What is inside the timers.
        device: `cpu` or `gpu`.
        weights: The original's checkpoint.
        images: Folder of pictures, for `end-to-end`.
        effort: How much is measured.
        budget_ms: Latency that a batch is chosen for; None for no choice.
        limits: Whether layer times and the machine's attainable rates are measured too.
        seed: Seed of the bootstrap.
    """

    bundles: tuple[Path, ...]
    engines: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1,)
    threads: tuple[int | None, ...] = (None,)
    scope: Scope = "model"
    device: str = "cpu"
    weights: Path | None = None
    images: Path | None = None
    effort: Effort = field(default_factory=Effort)
    budget_ms: float | None = None
    limits: bool = True
    seed: int = 0


def run_bench(request: BenchRequest, listener: Listener | None = None) -> BenchResult:
    """Measure and return the result.

    Raises:
        ExportSslError: Anything that stops it, in one line.
    """
    listener = listener or Listener()
    bundles = tuple(open_bundle(path) for path in request.bundles)
    _require_one_network(bundles)
    peers, absent = _choose_peers(request, bundles[0])
    subjects = list_subjects(
        bundles,
        engines=request.engines,
        peers=[peer for peer in peers if peer not in PROGRAMS],
        batches=request.batches,
        threads=request.threads,
        scope=request.scope,
        device=request.device,
        weights=request.weights,
        images=request.images,
    )
    began, started_at = time.perf_counter(), datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    watch = NoiseWatch()
    watch.start()
    measured = [_describe(times, seed=request.seed) for times in measure(subjects, request.effort, listener)]
    # At once: the clocks of a GPU that has rested say nothing.
    machine = describe_machine(PACKAGES)
    noise = watch.finish(measured, machine.gpus)
    measured += _run_programs(peers, bundles, request, listener)
    by_name = {subject.name: subject for subject in subjects if subject.kind == "bundle"}
    limits = find_limits(by_name, measured, listener) if request.limits and request.scope != "end-to-end" else ()
    manifest = bundles[0].manifest
    return BenchResult(
        started_at=started_at,
        seconds=time.perf_counter() - began,
        machine=machine,
        noise=noise,
        scope=request.scope,
        seed=request.seed,
        model=manifest.model.name,
        licence=manifest.licence,
        measured=tuple(measured),
        absent=absent,
        limits=limits,
        choices=choose_batches(measured, request.budget_ms) if request.budget_ms is not None else (),
        commands={name: equivalent_commands(subject) for name, subject in by_name.items()},
    )


def _require_one_network(bundles: Sequence[Bundle]) -> None:
    """Refuse bundles whose times say nothing about each other.

    Raises:
        UsageError: Architecture or input size differ.
    """
    first = bundles[0]
    for second in bundles[1:]:
        for what, of_first, of_second in (
            ("architecture", first.manifest.model.architecture, second.manifest.model.architecture),
            ("image size", first.manifest.preprocessing.image_size, second.manifest.preprocessing.image_size),
            ("classes", first.manifest.model.classes, second.manifest.model.classes),
        ):
            if of_first != of_second:
                raise UsageError(
                    f"{first.path} and {second.path} differ in {what}, {of_first} and {of_second}: a benchmark "
                    "compares bundles of the same network; run them one at a time"
                )


def _choose_peers(request: BenchRequest, bundle: Bundle) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the peers to run, and those that cannot, with the reason.

    Raises:
        UsageError: A peer is not known.
    """
    names = request.peers
    if not names:
        return (), {}
    missing = missing_peers(bundle, weights=request.weights, device=request.device)
    wanted = tuple(missing) if names == ("all",) else names
    for name in wanted:
        if name not in missing:
            raise UsageError(f"no peer is named {name}: expected all, {', '.join(missing)}")
    return (
        tuple(name for name in wanted if not missing[name]),
        {name: missing[name] for name in wanted if missing[name]},
    )


def _describe(times: Times, *, seed: int) -> Measured:
    subject, latency = times.subject, describe_latency(times.rounds_ms, seed=seed)
    return Measured(
        name=subject.name,
        kind=subject.kind,
        bundle=str(subject.bundle),
        engine=subject.engine,
        precision=times.precision,
        batch=subject.batch,
        threads=subject.threads,
        scope=subject.scope,
        latency=latency,
        images_per_s=1e3 * subject.batch / latency.mean_ms,
        load_ms=times.load_ms,
        first_ms=times.first_ms,
        peak_memory_mb=times.peak_memory_mb,
        rounds_ms=times.rounds_ms,
        notes=times.notes,
    )


def _run_programs(
    peers: Sequence[str], bundles: Sequence[Bundle], request: BenchRequest, listener: Listener
) -> list[Measured]:
    """Return what other programs say of the first bundle's network, each run by itself after all else."""
    bundle, label = bundles[0], bundle_labels(bundles)[0]
    found = []
    for peer in (peer for peer in peers if peer in PROGRAMS):
        listener.on_stage(peer, len(request.batches))
        for batch in request.batches:
            for threads in request.threads:
                subject = Subject(
                    name=subject_name(label, peer, batch, threads),
                    kind="peer",
                    bundle=bundle.path.absolute(),
                    engine=peer,
                    batch=batch,
                    threads=threads,
                )
                found.append(run_program(subject, bundle, seed=request.seed))
            listener.on_steps(1)
    return found
