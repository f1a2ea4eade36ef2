"""The regression gate of continuous integration, on ratios alone: the engines beside the libraries that they call.

    python -m benchmarks.bench.ci_gate

Machines of continuous integration are shared and differ from run to run, so no time is held against an earlier one.
What is held is the ratio, of this run, of an engine's call to the raw library's on the same small network, measured in
turn and paired by round. Exit 1 if an engine is significantly slower: the lower end of the ratio's 95 % interval is
above 1 + GATE. What the wrapper costs on a quiet machine is in bench/wrapper_overhead.py's result, far below that.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.bench.wrapper_overhead import compare_all, measure, print_table
from benchmarks.shared.random_bundles import export_random

# A call takes about a millisecond: 10 % of it is 0.1 ms, three times what the wrapper may cost.
GATE = 0.10
IMG_SIZE, ROUNDS, RUNS = 64, 20, 600


def main() -> None:
    """Measure, print a table, and exit with 1 on a significant regression."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "").parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bundle = export_random("ssl_resnet18", Path(temporary), precision="fp32", img_size=IMG_SIZE)
        found = compare_all("ssl_resnet18", measure(bundle, rounds=ROUNDS, runs=RUNS))
    print_table(found, Console(width=120))
    slow = [one for one in found if one.ratio_ci95[0] > 1 + GATE]
    for one in slow:
        print(
            f"{one.engine} takes {one.ratio:.2f} times as long as {one.raw} (at least {one.ratio_ci95[0]:.2f}): "
            f"more than {1 + GATE:.2f}",
            file=sys.stderr,
        )
    sys.exit(bool(slow))


if __name__ == "__main__":
    main()
