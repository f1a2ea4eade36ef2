"""Fill the outputs and figures of README.md and docs/ from real runs: `make readme`.

    python -m benchmarks.documents.update_documents [SECTION …]

    <!-- output: COMMAND -->   the fenced block below becomes what COMMAND prints on stdout
    <!-- figures -->           the lines up to <!-- /figures --> become a table of benchmarks/results/*.json
    <!-- int8 -->              the lines up to <!-- /int8 --> become that of benchmarks/results/int8_accuracy.json
    <!-- bounds -->, <!-- thin --> the same of benchmarks/results/bounds.json
    <!-- compared -->          the lines up to <!-- /compared --> become the README's table, of the demo's compare.json

A SECTION is a table's mark, such as `figures`, or the beginning of an output's COMMAND, such as `run-ssl verify`. Only
those are renewed, from nothing but what they need. Without any, all are. Run `make demo` first: the commands use its
bundles.
"""

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.documents.bounds_table import bounds, thin
from benchmarks.documents.compared_table import compared
from benchmarks.int8.verdicts import HIGH, OURS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
RESULTS = ROOT / "benchmarks" / "results"
COLUMNS = "110"
_OUTPUT = re.compile(r"(<!-- output: (?P<command>.+?) -->\n```text\n)(?P<old>.*?)(```\n)", re.DOTALL)
_MARK = re.compile(r"^<!-- (?:output: (.+?)|(figures|int8|compared|bounds|thin)) -->$", re.MULTILINE)


def run(command: str) -> str:
    """Return what a command of this environment prints on stdout."""
    words = shlex.split(command)
    words[0] = str(Path(sys.prefix) / "bin" / words[0])
    environment = {**os.environ, "COLUMNS": COLUMNS}
    done = subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    # Paths as a reader of the repository has them.
    shown = done.stdout.replace(f"{ROOT.resolve()}/", "")
    return "".join(f"{line.rstrip()}\n" for line in shown.rstrip().splitlines())


def figures() -> str:
    """Return the table of the recorded results."""
    speed = json.loads((RESULTS / "export_speed.json").read_text(encoding="utf-8"))
    compare = json.loads((RESULTS / "compare_throughput.json").read_text(encoding="utf-8"))
    seconds, peak = speed["seconds_median"], speed["peak_mb"]
    rows = [
        "| what | figure | command |",
        "|---|---|---|",
        f"| `export-ssl --model ssl_resnet18 --fp16 --weights random`, whole process | {seconds['export-ssl']:.2f} s, "
        f"{speed['ratio']:.2f} of timmx's {seconds['timmx']:.2f} s in turn; peak {peak['export-ssl']:,} MB "
        f"(timmx {peak['timmx']:,} MB) | `benchmarks/export/speed.py` |",
        f"| `run-ssl compare`, original and two engines, 224 px, against 1 / (1/D + 1/I) | "
        f"{100 * compare['share']:.1f} %: {compare['median']['compare']:.1f} images/s, with decoding alone "
        f"{compare['median']['decoding']:,.0f} and all engines alone {compare['median']['inference']:.1f} | "
        "`benchmarks/compare/throughput.py` |",
        *int8_speed(),
        *int8_latency(),
        *cpp(),
        *benching(),
        *embedding(),
        "",
        f"{speed['cpu']}, {speed['cores']} cores, torch {speed['versions']['torch']}, "
        f"onnxruntime {speed['versions']['onnxruntime']}.",
    ]
    return "\n".join(rows) + "\n"


def read(name: str) -> dict[str, Any]:
    """Return a recorded result."""
    result: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return result


def int8_speed() -> list[str]:
    """Return the rows on the speed and memory of calibration."""
    speed = read("int8_speed.json")
    peer, forward, memory = speed["peer"], speed["forward"], speed["memory"]
    passes, wholes = (
        [memory[f"{what}, {count} images"]["peak_mb"] for count in (64, 512)] for what in ("pass", "quantize_model")
    )
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in speed["stages_s"].items())
    return [
        f"| INT8 calibration pass, ResNet-50, 224 px, against onnxruntime's `quantize_static` (entropy) / plain "
        f"FP32 forward | {peer['times_peer']:.1f} times the images/s / {forward['of_forward']:.2f} of them | "
        "`benchmarks/int8/speed.py` |",
        f"| its peak memory at 512 images (at 64); of the whole calibration | {passes[1]:,.0f} MB ({passes[0]:,.0f}); "
        f"{wholes[1]:,.0f} MB ({wholes[0]:,.0f}) | the same |",
        f"| the whole calibration, 512 images, by stage | {stages} | the same |",
    ]


def int8_latency() -> list[str]:
    """Return the row on latency, of batch 1."""
    found = read("int8_latency.json")
    parts = []
    for one in (one for one in found["measured"] if one["batch"] == 1):
        ratios = ", ".join(f"{ratio['what']} / {ratio['over']} {ratio['ratio']:.2f}" for ratio in one["ratios"])
        parts.append(f"{one['model']}: {ratios}")
    amx = "with" if found["amx"] else "without"
    what = f"INT8 latency, 224 px, batch 1, on this CPU ({amx} AMX)"
    return [f"| {what} | {'; '.join(parts)} | `benchmarks/int8/latency.py` |"]


def cpp() -> list[str]:
    """Return the rows on the C library."""
    resize, latency = read("cpp_preprocess.json"), read("cpp_latency.json")
    first = next(one for one in resize["rows"] if (one["width"], one["interpolation"]) == (500, "bilinear"))
    times = first["microseconds_median"]
    ratios = "; ".join(
        f"{name}: {one['ratio']:.3f} ({one['ratio_ci95'][0]:.3f} to {one['ratio_ci95'][1]:.3f})"
        for name, one in latency["measured"].items()
    )
    return [
        f"| C library: 500x375 pixels to 224 px, one thread, against Pillow's resize and crop | {times['cpp']:.0f} µs, "
        f"{first['ratio_to_pillow']:.3f} of {times['pillow']:.0f} µs | `benchmarks/cpp/preprocess.py` |",
        f"| C library: latency at batch 1 over `benchmark_app`'s, {latency['turns']} turns, 95 % interval | {ratios} | "
        "`benchmarks/cpp/latency.py` |",
    ]


def benching() -> list[str]:
    """Return the rows on what `run-ssl bench` and the engines cost and agree with."""
    wrapper, agreement, pipeline = (
        read(name) for name in ("wrapper_overhead.json", "bench_agreement.json", "pipeline_throughput.json")
    )
    overheads = "; ".join(
        f"{one['model']} {one['precision'].partition(' ')[0]} {one['engine']} {one['difference_us']:+.0f} µs "
        f"({100 * (one['ratio'] - 1):+.1f} %)"
        for one in wrapper["measured"]
    )
    ratios = "; ".join(
        f"{name}: {one['ratio']:.3f} ({one['ratio_ci95'][0]:.3f} to {one['ratio_ci95'][1]:.3f})"
        for name, one in agreement["measured"].items()
    )
    return [
        f"| engine of `run-ssl` less the raw library's call, batch 1, 224 px | {overheads} | "
        "`benchmarks/bench/wrapper_overhead.py` |",
        f"| median of `run-ssl bench` over `benchmark_app`'s, 95 % interval | {ratios} | "
        "`benchmarks/bench/agreement.py` |",
        f"| JPEG folder to embeddings, of 1 / (1/D + 1/I) | {100 * pipeline['share']:.1f} % | "
        "`benchmarks/embed/pipeline.py` |",
    ]


def embedding() -> list[str]:
    """Return the row on embedding jobs."""
    found = read("embed_throughput.json")
    fewest, most = (pick(run["images"] for run in found["memory"]["runs"]) for pick in (min, max))
    peak = statistics.mean(run["peak_mb"] for run in found["memory"]["runs"] if run["images"] == most)
    middle, ratio = found["median"], found["memory"]["ratio"]["peak_mb"]
    return [
        f"| `run-ssl embed`, {found['images']:,} JPEGs to Parquet, ResNet-18 INT8, {found['image_size']} px, against "
        f"1 / (1/D + 1/I) / peak memory over that at {fewest:,} | {100 * found['share']:.1f} %: "
        f"{middle['embed']:,.0f} images/s, with decoding alone {middle['decoding']:,.0f} and inference alone "
        f"{middle['inference']:,.0f} / {ratio:.2f} ({peak:,.0f} MB) | `benchmarks/embed/throughput.py` |",
    ]


def int8_accuracy() -> str:
    """Return the table of INT8 accuracy beside the best peer."""
    found = read("int8_accuracy.json")
    scores = {(row["network"], row["kind"], row["engine"], row["who"]): row["score"] for row in found["rows"]}
    lines = [
        "| network (FP32 top-1, held-out images) | activations | engine | normal, dB | high, dB | best peer, dB | "
        "agree normal, % | agree high, % | agree peer, % | top-1 drop normal, pp (95 %; p) | drop high, pp (95 %; p) |",
        "|---|---|---|---:|---:|---|---:|---:|---:|---|---|",
    ]
    for verdict in (one for one in found["verdicts"] if one["who"] == OURS):
        key = (verdict["network"], verdict["kind"], verdict["engine"])
        peer, network = verdict["best_peer"], found["networks"][verdict["network"]]
        figures_of, theirs = [scores.get((*key, who)) for who in (OURS, HIGH)], scores[(*key, peer)]
        cells = [
            f"{verdict['network']} ({100 * network['top1_fp32']:.2f} %, {network['images']:,})",
            *(verdict["kind"], verdict["engine"]),
            *(f"{score['sqnr_db']:.1f}" if score else "" for score in figures_of),
            f"{theirs['sqnr_db']:.1f}, {peer}",
            *(f"{100 * score['agreement']:.2f}" if score else "" for score in (*figures_of, theirs)),
            *(_drop(score) if score else "" for score in figures_of),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _drop(score: Mapping[str, Any]) -> str:
    low, high = (100 * end for end in score["drop_ci95"])
    return f"{100 * score['drop']:.2f} ({low:.2f} to {high:.2f}; {score['mcnemar_p']:.2f})"


def section_names(text: str) -> list[str]:
    """Return what can be renewed in a document, in its order: tables by their mark, outputs by their command."""
    return [command or table for command, table in _MARK.findall(text)]


def renew(text: str, wanted: Sequence[str], *, printed: Callable[[str], str] = run) -> str:
    """Return a document with its wanted sections renewed.

    Args:
        text: The document.
        wanted: Names of tables, or how a command begins; empty for everything.
        printed: Gives what a command prints on stdout.
    """

    def output(match: re.Match[str]) -> str:
        if not is_wanted(match["command"], wanted):
            return match[0]
        return match[1] + printed(match["command"]) + match[4]

    text = _OUTPUT.sub(output, text)
    for name, table in _TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if begin in text and is_wanted(name, wanted):
            before, rest = text.split(begin, 1)
            text = before + begin + table() + end + rest.split(end, 1)[1]
    return text


def is_wanted(section: str, wanted: Sequence[str]) -> bool:
    """Return whether a section is among those that were named, or none was."""
    return not wanted or any(section == name or section.startswith(f"{name} ") for name in wanted)


_TABLES = {"figures": figures, "int8": int8_accuracy, "compared": compared, "bounds": bounds, "thin": thin}


def main() -> None:
    """Rewrite the documents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="a table's mark, or the beginning of a COMMAND")
    parser.add_argument("--list", action="store_true", help="print the sections and change nothing")
    arguments = parser.parse_args()
    texts = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    names = [name for text in texts.values() for name in section_names(text)]
    if arguments.list:
        print("\n".join(names))
        return
    for wanted in arguments.sections:
        if not any(is_wanted(name, [wanted]) for name in names):
            parser.error(f"{wanted!r} is no section: expected the beginning of one of {', '.join(map(repr, names))}")
    for path, text in texts.items():
        renewed = renew(text, arguments.sections)
        if renewed != text:
            path.write_text(renewed, encoding="utf-8")


if __name__ == "__main__":
    main()
