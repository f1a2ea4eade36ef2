"""Fill the README's outputs and figures from real runs: `make readme`.

    <!-- output: COMMAND -->   the fenced block below becomes what COMMAND prints on stdout
    <!-- figures -->           the lines up to <!-- /figures --> become a table of benchmarks/results/*.json

Run `make demo` first: the commands use its bundles.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
COLUMNS = "110"
_OUTPUT = re.compile(r"(<!-- output: (?P<command>.+?) -->\n```text\n)(?P<old>.*?)(```\n)", re.DOTALL)
_FIGURES = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)


def run(command: str) -> str:
    """Return what a command of this environment prints on stdout."""
    words = shlex.split(command)
    words[0] = str(Path(sys.prefix) / "bin" / words[0])
    environment = {**os.environ, "COLUMNS": COLUMNS}
    done = subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.rstrip().splitlines())


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
        f"(timmx {peak['timmx']:,} MB) | `benchmarks/export_speed.py` |",
        f"| `run-ssl compare`, original and two engines, 224 px, against 1 / (1/D + 1/I) | "
        f"{100 * compare['share']:.1f} %: {compare['median']['compare']:.1f} images/s, with decoding alone "
        f"{compare['median']['decoding']:,.0f} and all engines alone {compare['median']['inference']:.1f} | "
        "`benchmarks/compare_throughput.py` |",
        "",
        f"{speed['cpu']}, {speed['cores']} cores, torch {speed['versions']['torch']}, "
        f"onnxruntime {speed['versions']['onnxruntime']}.",
    ]
    return "\n".join(rows) + "\n"


def main() -> None:
    """Rewrite README.md."""
    text = README.read_text(encoding="utf-8")
    text = _OUTPUT.sub(lambda match: match[1] + run(match["command"]) + match[4], text)
    text = _FIGURES.sub(lambda match: match[1] + figures() + match[2], text)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
