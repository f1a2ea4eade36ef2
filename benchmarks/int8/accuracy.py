"""INT8 accuracy, ours and every peer's, on the same calibration images, scored on images none of them saw.

    python -m benchmarks.int8.accuracy FOLDER [FOLDER] [--peers FOLDER] [--network NAME] [--output FILE]

FOLDER is what `inputs/train_digits.py` or `inputs/train_fractals.py` wrote; FP32 bundles, calibration arrays and
quantised networks are kept in FOLDER/int8 of the first. Per network:

1. The FP32 bundle is exported; its logits in onnxruntime are the reference.
2. Ours is given 512 images of `train`, for both targets, and once more with one technique after the other.
3. Every peer is given the same 512 images and, once more, 128 drawn by the same rule, since more images make
   the largest values larger; its better result counts. onnxruntime's Entropy and Percentile get 128 only.
4. All are scored on the images of `val`, in onnxruntime with every Q and DQ executed as written, and in OpenVINO.
   NNCF's IR exists in OpenVINO alone.

Quantised files stay, so that an interrupted run goes on; delete FOLDER/int8 after a change of the code. The JSON is
written after each network.

The result: by how many dB ours is above the best peer of the same kind in the same engine.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.int8.networks import Network, find_networks
from benchmarks.int8.peers import (
    PEER_FOLDER,
    PEERS,
    Kind,
    measured_before,
    peer_environment,
    run_peer,
)
from benchmarks.int8.scoring import Score, run_engines, run_onnxruntime, score
from benchmarks.shared.environment import describe_environment
from benchmarks.shared.run_measured import Usage, run_measured

OURS = "ours"
JOB = Path(__file__).with_name("project_job.py")
COUNT = 512
FEWEST = 128
PEER_COUNTS = (512, FEWEST)
TARGETS: dict[Kind, str] = {"signed": "tensorrt", "unsigned": "cpu"}
# The stages of ours, each with the ones before it.
_OFF = {"equalize": False, "rounding": False, "bias_correction": False}
STAGES: dict[str, dict[str, Any]] = {
    "largest magnitude": {"method": "max", **_OFF},
    "+ best method": _OFF,
    "+ equalisation": {**_OFF, "equalize": True},
    "+ layer-wise rounding": {"bias_correction": False},
    OURS: {},
}
# Wanted: dB above the best peer, top-1 drop unless it is not significant, agreement with FP32.
WANTED_MARGIN_DB, WANTED_DROP, SIGNIFICANT, WANTED_AGREEMENT = 1.0, 0.002, 0.05, 0.98


@dataclass(frozen=True)
class Row:
    """One quantised network in one engine."""

    network: str
    kind: Kind
    who: str
    images: int
    engine: str
    score: Score
    usage: Usage


class Measurement:
    """One network with its images, and where its quantised forms are written."""

    def __init__(
        self, network: Network, cache: Path, *, limit: int | None, counts: tuple[int, ...], stages: bool
    ) -> None:
        self.network, self.cache, self.counts = network, cache, counts
        self.stages = STAGES if stages else {OURS: STAGES[OURS]}
        self.bundle = network.bundle(cache)
        self.model = self.bundle.model_path
        self.images, self.labels = network.validation(self.bundle, limit=limit)
        self.reference = run_onnxruntime(self.model, self.images)
        self.top1 = float((self.reference.argmax(1) == self.labels).mean())
        self.preprocessing = cache / f"{network.name}-preprocessing.json"
        self.preprocessing.write_text(self.bundle.manifest.preprocessing.model_dump_json(), encoding="utf-8")

    def ours(self) -> Iterator[tuple[Row, dict[str, Any]]]:
        """Give the rows of ours, each with what its calibration.json says."""
        for kind, target in TARGETS.items():
            for stage, switches in self.stages.items():
                output = self.cache / f"{self.network.name}-{kind}-{list(STAGES).index(stage)}.onnx"
                options = json.dumps({"target": target, **switches})
                files = (self.model, self.network.training, self.preprocessing, output)
                command = [sys.executable, str(JOB), *map(str, files), "--count", str(COUNT), "--options", options]
                usage = measured_before(output) or run_measured(command, log=output.with_suffix(".log"))
                decided = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
                kept = {name: decided[name] for name in ("method", "candidates", "techniques", "held_out_sqnr_db")}
                for row in self._score(output, kind=kind, who=stage, images=COUNT, usage=usage):
                    yield row, kept

    def peers(self, python: Path) -> Iterator[Row]:
        """Give the rows of the peers; one that fails is said on stderr."""
        few = min(self.counts[-1], FEWEST)
        files = {n: self.network.calibration_file(self.bundle, self.cache, count=n) for n in {*self.counts, few}}
        for peer in PEERS:
            for count in [count for count in self.counts if count <= peer.most] or [few]:
                name = f"{self.network.name}-{peer.job.replace('/', '-')}-{count}"
                output = self.cache / "peers" / f"{name}{peer.suffix}"
                try:
                    usage = measured_before(output) or run_peer(
                        python, peer, self.model, calibration=files[count], output=output
                    )
                except RuntimeError as error:
                    print(f"{peer.name}, {count} images: {error}", file=sys.stderr)
                    continue
                yield from self._score(output, kind=peer.kind, who=peer.name, images=count, usage=usage)

    def _score(self, model: Path, *, kind: Kind, who: str, images: int, usage: Usage) -> Iterator[Row]:
        for engine, found in run_engines(model, self.images).items():
            judged = score(self.reference, found, self.labels)
            yield Row(self.network.name, kind, who, images, engine, judged, usage)
            print(f"{self.network.name}, {who}, {engine}: {judged.sqnr_db:.2f} dB", file=sys.stderr)


def better_of_counts(rows: list[Row]) -> list[Row]:
    """Return one row per quantiser and engine: the count of images that gave the higher SQNR."""
    best: dict[tuple[str, str, str, str], Row] = {}
    for row in rows:
        key = (row.network, row.kind, row.who, row.engine)
        if key not in best or row.score.sqnr_db > best[key].score.sqnr_db:
            best[key] = row
    return list(best.values())


@dataclass(frozen=True)
class Verdict:
    """What was wanted of one network, kind and engine, and what came of it."""

    network: str
    kind: Kind
    engine: str
    best_peer: str
    margin_db: float
    drop_is_small: bool
    agrees: bool

    @property
    def done(self) -> bool:
        """Whether all that is wanted came."""
        return self.margin_db >= WANTED_MARGIN_DB and self.drop_is_small and self.agrees


def judge(rows: list[Row]) -> list[Verdict]:
    """Return one verdict per network, kind and engine."""
    verdicts = []
    for own in (row for row in rows if row.who == OURS):
        same = (own.network, own.kind, own.engine)
        rivals = [row for row in rows if (row.network, row.kind, row.engine) == same and row.who not in STAGES]
        if not rivals:
            continue
        best = max(rivals, key=lambda row: row.score.sqnr_db)
        small = own.score.drop <= WANTED_DROP or own.score.mcnemar_p > SIGNIFICANT
        margin = own.score.sqnr_db - best.score.sqnr_db
        verdicts.append(Verdict(*same, best.who, margin, small, own.score.agreement >= WANTED_AGREEMENT))
    return verdicts


def print_rows(rows: list[Row], console: Console, *, title: str) -> None:
    """Print one network's rows."""
    heads = ("kind", "who", "images", "engine", "SQNR dB", "agree %", "top-1 %", "drop pp (95 %)", "p", "s", "GB")
    table = Table(*heads, title=title)
    for row in rows:
        found = row.score
        low, high = (100 * end for end in found.drop_ci95)
        table.add_row(
            row.kind,
            row.who,
            str(row.images),
            row.engine,
            f"{found.sqnr_db:.2f}",
            f"{100 * found.agreement:.2f}",
            f"{100 * found.top1:.2f}",
            f"{100 * found.drop:.2f} ({low:.2f} to {high:.2f})",
            f"{found.mcnemar_p:.2f}",
            f"{row.usage.seconds:.1f}",
            f"{row.usage.peak_mb / 1024:.2f}",
        )
    console.print(table)


def main() -> None:
    """Measure, print tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", type=Path, nargs="+", help="what benchmarks/inputs wrote")
    parser.add_argument("--peers", type=Path, default=PEER_FOLDER, help="environment of the peers")
    parser.add_argument("--network", action="append", help="only these, such as fractals-resnet18 (default: all)")
    parser.add_argument("--limit", type=int, help="held-out images per network, balanced (default: all)")
    parser.add_argument(
        "--one-count", action="store_true", help="peers get 512 images only, or the 128 that they can hold"
    )
    parser.add_argument(
        "--no-stages", action="store_true", help="ours as it is only, not one technique after the other"
    )
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    networks = find_networks(arguments.folders)
    chosen = [network for network in networks if not arguments.network or network.name in arguments.network]
    if not chosen:
        sys.exit(f"no such network: {', '.join(network.name for network in networks) or 'none'} found in the folders")
    environment = describe_environment("torch", "timm", "onnx", "onnxruntime", "openvino", "numpy")
    cache = arguments.folders[0] / "int8"
    (cache / "peers").mkdir(parents=True, exist_ok=True)
    python = peer_environment(arguments.peers.resolve())
    console, rows, told = Console(width=150), [], {}
    for network in chosen:
        measurement = Measurement(
            network,
            cache,
            limit=arguments.limit,
            counts=PEER_COUNTS[:1] if arguments.one_count else PEER_COUNTS,
            stages=not arguments.no_stages,
        )
        own = list(measurement.ours())
        found = better_of_counts([*(row for row, _ in own), *measurement.peers(python)])
        told[network.name] = {
            "top1_fp32": measurement.top1,
            "images": len(measurement.labels),
            "decided": {row.kind: decided for row, decided in own if row.who == OURS},
        }
        title = f"{network.name}: FP32 top-1 {100 * measurement.top1:.2f} % of {len(measurement.labels)} images"
        print_rows(found, console, title=title)
        rows.extend(found)
        verdicts = judge(rows)
        for verdict in (one for one in verdicts if one.network == network.name):
            console.print(
                f"{verdict.network}, {verdict.kind}, {verdict.engine}: {verdict.margin_db:+.2f} dB against "
                f"{verdict.best_peer}; {'as wanted' if verdict.done else 'NOT as wanted'}"
            )
        result = {
            **environment,
            "networks": told,
            "rows": [asdict(row) for row in rows],
            "verdicts": [asdict(verdict) | {"done": verdict.done} for verdict in verdicts],
        }
        if arguments.output:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
