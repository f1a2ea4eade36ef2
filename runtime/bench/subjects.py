"""What is timed: an engine on a bundle at a batch size, or a peer on the same network."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.bundle.bundle import Bundle
from runtime.bundle.layout import PLANS
from runtime.bundle.plan_json import build_command, read_sidecar
from runtime.bundle.results.bench_json import Scope
from runtime.engines.open_engine import ORIGINAL, parse_engine, runnable_engines
from runtime.errors import UsageError
from runtime.support.engine_names import PlanEngine
from runtime.support.words import counted

DEVICES = ("cpu", "gpu")


class Subject(BaseModel):
    """One thing to time, as the measuring process receives it.

    Attributes:
        name: Unique among the subjects of a run.
        kind: `bundle`, or `peer`.
        bundle: The bundle's directory.
        engine: An engine as `--engines` takes it, or a peer's name.
        batch: Images per call.
        threads: Threads for one call; None leaves the engine's choice.
        scope: What is inside the timer.
        device: `cpu` or `gpu`.
        weights: Checkpoint of the original, for `pytorch` and the peers that need it.
        images: Folder of pictures, for `end-to-end`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["bundle", "peer"]
    bundle: Path
    engine: str
    batch: int = Field(ge=1)
    threads: int | None = None
    scope: Scope = "model"
    device: str = "cpu"
    weights: Path | None = None
    images: Path | None = None


def list_subjects(
    bundles: Sequence[Bundle],
    *,
    engines: Sequence[str],
    peers: Sequence[str],
    batches: Sequence[int],
    threads: Sequence[int | None],
    scope: Scope,
    device: str,
    weights: Path | None,
    images: Path | None,
) -> tuple[Subject, ...]:
    """Return every engine on every bundle, then every peer on the first bundle, at every batch and thread count.

    Args:
        bundles: Opened bundles of one network.
        engines: Names as `--engines` takes them; empty for all that can run each bundle.
        peers: Names of peers.
        batches: Images per call.
        threads: Threads for one call.
        scope: What is inside the timers.
        device: `cpu` or `gpu`.
        weights: The original's checkpoint.
        images: Folder of pictures, for `end-to-end`.

    Raises:
        UsageError: A batch is outside a plan's profile or not a graph's own, there is no such device, or nothing is
            left to time.
    """
    if device not in DEVICES:
        raise UsageError(f"--device {device}: expected {' or '.join(DEVICES)}")
    # The measuring process starts in another folder.
    weights = weights.absolute() if weights is not None else None
    images = images.absolute() if images is not None else None
    labels = bundle_labels(bundles)
    found: list[Subject] = []
    for bundle, title in zip(bundles, labels, strict=True):
        _check_fixed_batch(bundle, batches)
        for engine in engines or runnable_engines(bundle):
            name, precision = parse_engine(engine)[:2]
            # The original is one network, whatever the bundles' precisions.
            if name == ORIGINAL and bundle is not bundles[0]:
                continue
            for plan in PLANS:
                if name == plan:
                    _check_profile(bundle, batches, plan)
            for batch, count in product(batches, threads):
                label = engine if precision or name != ORIGINAL else f"{engine}:fp32"
                found.append(
                    Subject(
                        name=subject_name(title, label, batch, count),
                        kind="bundle",
                        bundle=bundle.path.absolute(),
                        engine=engine,
                        batch=batch,
                        threads=count,
                        scope=scope,
                        device=device,
                        weights=weights,
                        images=images,
                    )
                )
    for peer, batch, count in product(peers, batches, threads):
        found.append(
            Subject(
                name=subject_name(labels[0], peer, batch, count),
                kind="peer",
                bundle=bundles[0].path.absolute(),
                engine=peer,
                batch=batch,
                threads=count,
                scope="model",
                device=device,
                weights=weights,
            )
        )
    if not found:
        raise UsageError("nothing to time: no engine is installed; pip install 'export-ssl[cpu]'")
    names = [subject.name for subject in found]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise UsageError(
            f"{sorted(repeated)[0]} is requested twice: name each bundle, engine, batch and thread count once"
        )
    return tuple(found)


def subject_name(bundle: str, engine: str, batch: int, threads: int | None) -> str:
    """Return what a subject is called.

    Args:
        bundle: The bundle, by `bundle_labels`.
        engine: The engine or peer.
        batch: Images per call.
        threads: Threads for one call; None is not named.
    """
    count = "" if threads is None else f", {counted(threads, 'thread')}"
    return f"{bundle} {engine} batch {batch}{count}"


def bundle_labels(bundles: Sequence[Bundle]) -> tuple[str, ...]:
    """Return the bundles' folders by name, with the folders above them where the names alone are equal."""
    paths = [bundle.path.absolute() for bundle in bundles]
    if len(set(paths)) < len(paths):
        return tuple(path.name for path in paths)
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return tuple("/".join(path.parts[-depth:]) for path in paths)


def _check_fixed_batch(bundle: Bundle, batches: Sequence[int]) -> None:
    """Refuse a batch that a graph of a fixed batch would split or fill up: its time would be another batch's.

    Raises:
        UsageError: There is one.
    """
    fixed = bundle.manifest.fixed_batch
    for batch in batches:
        if fixed is not None and batch != fixed:
            raise UsageError(
                f"--batch {batch}, but the batch of {bundle.path} is fixed at {fixed}: pass --batch {fixed}, or export "
                "it without --batch"
            )


def _check_profile(bundle: Bundle, batches: Sequence[int], engine: PlanEngine) -> None:
    """Refuse a batch that a plan would split or fill up: its time would be another batch's.

    Raises:
        UsageError: There is one.
        BundleError: The bundle has no plan that is described.
    """
    profile = read_sidecar(bundle.path, engine).options.profile
    for batch in batches:
        if not profile.min <= batch <= profile.max:
            raise UsageError(
                f"batch {batch} is outside the plan's profile {profile} of {bundle.path}: pass --batch within it, or "
                f"build another with `{build_command(bundle.path, engine)} --profile MIN:OPT:MAX`"
            )
