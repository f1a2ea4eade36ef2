"""INT8 accuracy, ours and every peer's, on the same calibration images, scored on images none of them saw.

    python -m benchmarks.int8.accuracy FOLDER [FOLDER] [--peer NAME] [--network NAME] [--output FILE]

FOLDER is what `inputs/train_digits.py` or `inputs/train_fractals.py` wrote; FP32 bundles, calibration arrays and
quantised networks are kept in FOLDER/int8 of the first. Per network:

1. The FP32 bundle is exported; its logits in onnxruntime are the reference.
2. Ours is given 512 images of `train`, for both targets, and once more with one technique after the other; with
   `--effort high` also as `export-ssl --int8-effort high`.
3. Every peer is given the same 512 images and, once more, 128 drawn by the same rule, since more images make
   the largest values larger; its better result counts. onnxruntime's Entropy and Percentile get 128 only.
4. All are scored on the images of `val`, in onnxruntime with every Q and DQ executed as written, and in OpenVINO.
   NNCF's IR exists in OpenVINO alone.

Quantised files stay, so that an interrupted run goes on; delete FOLDER/int8 after a change of the code. The JSON is
written after each network. What it has of networks that a run does not measure stays, with the commit that they were
measured at.

The result: by how many dB ours is above the best peer of the same kind in the same engine.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from benchmarks.int8.networks import Network, find_networks
from benchmarks.int8.peer_environments import PEER_FOLDER, TOOLS
from benchmarks.int8.peer_task import Kind, Original, Placement
from benchmarks.int8.peers import MOST, PEERS, TARGETS, Peer, measured_before, run_peer
from benchmarks.int8.scoring import run_engines, run_onnxruntime, score
from benchmarks.int8.verdicts import HIGH, OURS, Failure, Row, better_of_counts, judge, print_rows
from benchmarks.shared.environment import describe_environment
from benchmarks.shared.run_measured import Usage, run_measured
from calibration.options import Int8Effort

JOB = Path(__file__).with_name("project_job.py")
# The stages of ours, each with the ones before it.
_OFF = {"equalize": False, "rounding": False, "bias_correction": False}
STAGES: dict[str, dict[str, Any]] = {
    "largest magnitude": {"method": "max", **_OFF},
    "+ best method": _OFF,
    "+ equalisation": {**_OFF, "equalize": True},
    "+ layer-wise rounding": {"bias_correction": False},
    OURS: {},
    HIGH: {"effort": "high"},
}


@dataclass(frozen=True)
class Found:
    """What the peers gave."""

    rows: list[Row]
    failures: list[Failure]


class Measurement:
    """One network with its images, and where its quantised forms are written."""

    def __init__(
        self, network: Network, cache: Path, *, limit: int | None, stages: bool, effort: Int8Effort = "normal"
    ) -> None:
        self.network, self.cache = network, cache
        whole = {OURS, HIGH} if effort == "high" else {OURS}
        self.stages = {
            name: switches for name, switches in STAGES.items() if name in whole or (stages and name != HIGH)
        }
        self.bundle = network.bundle(cache)
        self.model = self.bundle.model_path
        self.images, self.labels = network.validation(self.bundle, limit=limit)
        self.reference = run_onnxruntime(self.model, self.images)
        self.top1 = float((self.reference.argmax(1) == self.labels).mean())
        self.preprocessing = cache / f"{network.name}-preprocessing.json"
        self.preprocessing.write_text(self.bundle.manifest.preprocessing.model_dump_json(), encoding="utf-8")
        self._files: dict[int, Path] = {}

    def ours(self) -> Iterator[tuple[Row, dict[str, Any]]]:
        """Give the rows of ours, each with what its calibration.json says."""
        for kind, target in TARGETS.items():
            for stage, switches in self.stages.items():
                output = self.cache / f"{self.network.name}-{kind}-{list(STAGES).index(stage)}.onnx"
                options = json.dumps({"target": target, **switches})
                files = (self.model, self.network.training, self.preprocessing, output)
                command = [sys.executable, str(JOB), *map(str, files), "--count", str(MOST), "--options", options]
                usage = measured_before(output) or run_measured(command, log=output.with_suffix(".log"))
                decided = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
                kept = {name: decided[name] for name in ("method", "candidates", "techniques", "held_out_sqnr_db")}
                for row in self._score(output, kind=kind, who=stage, images=MOST, usage=usage):
                    yield row, kept

    def peers(self, peers: Sequence[Peer], environments: Path, *, one_count: bool) -> Found:
        """Return the rows of the peers, and why others gave none."""
        found = Found([], [])
        original = Original(self.network.model, str(self.network.weights.resolve()))
        for peer in peers:
            for count in peer.counts[:1] if one_count else peer.counts:
                output = self.cache / "peers" / f"{self.network.name}-{peer.file_name}-{count}{peer.suffix}"
                try:
                    usage = measured_before(output) or run_peer(
                        peer,
                        self.model,
                        environments=environments,
                        calibration=self._calibration(count),
                        output=output,
                        original=original,
                    )
                    rows = self._score(
                        output, kind=peer.kind, who=peer.name, images=count, usage=usage, placement=peer.placement
                    )
                    found.rows.extend(rows)
                except RuntimeError as error:
                    print(f"{peer.name}, {count} images: {error}", file=sys.stderr)
                    why = str(error).strip().splitlines()[-1]
                    found.failures.append(Failure(self.network.name, peer.kind, peer.name, count, why))
        return found

    def _calibration(self, count: int) -> Path:
        """Return the file of the calibration images, made by the first peer that needs it."""
        if count not in self._files:
            self._files[count] = self.network.calibration_file(self.bundle, self.cache, count=count)
        return self._files[count]

    def _score(
        self, model: Path, *, kind: Kind, who: str, images: int, usage: Usage, placement: Placement = "same"
    ) -> Iterator[Row]:
        for engine, found in run_engines(model, self.images).items():
            judged = score(self.reference, found, self.labels)
            yield Row(self.network.name, kind, who, images, placement, engine, judged, usage)
            print(f"{self.network.name}, {kind}, {who}, {engine}: {judged.sqnr_db:.2f} dB", file=sys.stderr)


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", type=Path, nargs="+", help="what benchmarks/inputs wrote")
    parser.add_argument("--peers", type=Path, default=PEER_FOLDER, help="folder of the peers' environments")
    parser.add_argument("--tool", action="append", help="only these, such as aimet (default: all)")
    parser.add_argument("--peer", action="append", help="only these, by the table's name, such as 'MCT mse'")
    parser.add_argument("--slow", action="store_true", help="also the recipes that train roundings, up to an hour each")
    parser.add_argument("--network", action="append", help="only these, such as fractals-resnet18 (default: all)")
    parser.add_argument("--limit", type=int, help="held-out images per network, balanced (default: all)")
    parser.add_argument(
        "--one-count", action="store_true", help="peers get 512 images only, or the 128 that they can hold"
    )
    parser.add_argument(
        "--no-stages", action="store_true", help="ours as it is only, not one technique after the other"
    )
    parser.add_argument(
        "--effort", choices=get_args(Int8Effort), default="normal", help="high: ours also as --int8-effort high"
    )
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    return parser.parse_args()


def chosen_networks(arguments: argparse.Namespace) -> list[Network]:
    """Return the networks of the folders that were asked for; ends the process where there are none."""
    networks = find_networks(arguments.folders)
    chosen = [network for network in networks if not arguments.network or network.name in arguments.network]
    if not chosen:
        sys.exit(f"no such network: {', '.join(network.name for network in networks) or 'none'} found in the folders")
    return chosen


def chosen_peers(tools: Sequence[str] | None, names: Sequence[str] | None = None, *, slow: bool) -> list[Peer]:
    """Return the peers of the table that were asked for; ends the process where one is not in it."""
    known = {"tool": {peer.tool for peer in PEERS}, "peer": {peer.name for peer in PEERS}}
    for what, asked in (("tool", tools), ("peer", names)):
        for one in asked or ():
            if one not in known[what]:
                sys.exit(f"no such {what}: {one}; expected {', '.join(sorted(known[what]))}")
    wanted = [peer for peer in PEERS if (not tools or peer.tool in tools) and (not names or peer.name in names)]
    return [peer for peer in wanted if slow or not peer.slow or peer.name in (names or ())]


def with_others(result: dict[str, Any], earlier: dict[str, Any] | None) -> dict[str, Any]:
    """Return a result with what an earlier one has of other networks behind it.

    Args:
        result: The JSON of this run.
        earlier: That of an earlier run; None where there is none.
    """
    if earlier is None:
        return result
    networks = {
        name: {"commit": earlier["commit"]} | told
        for name, told in earlier["networks"].items()
        if name not in result["networks"]
    }
    lists = {
        what: [*result[what], *(one for one in earlier[what] if one["network"] in networks)]
        for what in ("rows", "failures", "verdicts")
    }
    return result | lists | {"networks": result["networks"] | networks}


def main() -> None:
    """Measure, print tables and write the JSON."""
    arguments = parse_arguments()
    networks, peers = chosen_networks(arguments), chosen_peers(arguments.tool, arguments.peer, slow=arguments.slow)
    environment = describe_environment("torch", "timm", "onnx", "onnxruntime", "openvino", "numpy")
    cache = arguments.folders[0] / "int8"
    (cache / "peers").mkdir(parents=True, exist_ok=True)
    console, rows, failures, told = Console(width=150), list[Row](), list[Failure](), {}
    output = arguments.output
    earlier = json.loads(output.read_text(encoding="utf-8")) if output and output.exists() else None
    for network in networks:
        measurement = Measurement(
            network, cache, limit=arguments.limit, stages=not arguments.no_stages, effort=arguments.effort
        )
        own = list(measurement.ours())
        theirs = measurement.peers(peers, arguments.peers.resolve(), one_count=arguments.one_count)
        found = better_of_counts([*(row for row, _ in own), *theirs.rows])
        told[network.name] = {
            "top1_fp32": measurement.top1,
            "images": len(measurement.labels),
            "commit": environment["commit"],
            "decided": {who: {row.kind: decided for row, decided in own if row.who == who} for who in (OURS, HIGH)},
        }
        title = f"{network.name}: FP32 top-1 {100 * measurement.top1:.2f} % of {len(measurement.labels)} images"
        print_rows(found, theirs.failures, console, title=title)
        rows.extend(found)
        failures.extend(theirs.failures)
        verdicts = judge(rows, stages=STAGES)
        for verdict in (one for one in verdicts if one.network == network.name):
            console.print(
                f"{verdict.network}, {verdict.kind}, {verdict.engine}, {verdict.who}: {verdict.margin_db:+.2f} dB "
                f"against {verdict.best_peer}; {'as wanted' if verdict.done else 'NOT as wanted'}"
            )
        result = {
            **environment,
            "peers": {tool.name: tool.packages for tool in TOOLS if tool.packages},
            "networks": told,
            "rows": [asdict(row) for row in rows],
            "failures": [asdict(failure) for failure in failures],
            "verdicts": [asdict(verdict) | {"done": verdict.done} for verdict in verdicts],
        }
        if output:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps(with_others(result, earlier), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
