"""Quantise one ONNX network with one peer: run by `int8/peers.py`, in that tool's environment.

    python -m benchmarks.int8.peer_job TOOL TASK.json

TOOL names a file of `int8/peer_tools`. Every peer runs with its defaults but for what the recipe names and what the
kind demands: symmetric signed INT8 where TensorRT demands it, and float32 for what is not INT8, as ours is.
"""

import argparse
import importlib
import os
from pathlib import Path

import numpy as np

from benchmarks.int8.peer_task import load_task


def main() -> None:
    """Run one peer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("tool", help="a file of int8/peer_tools, without .py")
    parser.add_argument("task", type=Path)
    arguments = parser.parse_args()
    task = load_task(arguments.task)
    tool = importlib.import_module(f"benchmarks.int8.peer_tools.{arguments.tool}")
    # Quark leaves a file of its own where it runs.
    os.chdir(task.output.parent)
    tool.quantize(task, np.load(task.calibration))


if __name__ == "__main__":
    main()
