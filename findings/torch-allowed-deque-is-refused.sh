#!/usr/bin/env bash
# torch 2.15.0: a checkpoint that holds a deque, a defaultdict or a subclass of list is refused even after its class was
# allowed as the message of torch.load() advises, and as get_unsafe_globals_in_checkpoint() lists it.
#
# Expected: with all the classes that get_unsafe_globals_in_checkpoint() lists allowed by safe_globals(), torch.load()
# reads the file. Seen: an empty deque is read, one with elements is refused: the reader fills plain lists, dict,
# OrderedDict and Counter alone. A range, a frozenset and a UserDict, allowed in the same way, are read.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet torch==2.15.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import builtins
import collections
import sys

import torch

MODULES = {"builtins": builtins, "collections": collections, "__main__": sys.modules["__main__"]}


class Losses(list):
    """A list of a training loop's own."""


def load(value):
    torch.save({"weight": torch.ones(2), "beside": value}, "last.pt")
    names = torch.serialization.get_unsafe_globals_in_checkpoint("last.pt")
    allowed = [getattr(MODULES[name.partition(".")[0]], name.partition(".")[2]) for name in names]
    with torch.serialization.safe_globals(allowed):
        try:
            return "read" if torch.load("last.pt")["beside"] == value else "another value"
        except Exception as error:
            return "refused: " + str(error).partition("WeightsUnpickler error:")[2].strip().splitlines()[0]


values = {
    "deque, empty": collections.deque(),
    "deque of two": collections.deque([0.5, 0.25]),
    "defaultdict": collections.defaultdict(list, loss=[0.5]),
    "list's subclass, empty": Losses(),
    "list's subclass of two": Losses([0.5, 0.25]),
    "Counter": collections.Counter(cat=2),
    "UserDict": collections.UserDict(cat=2),
    "frozenset": frozenset({"fc"}),
    "range": range(3),
}
print("torch", torch.__version__)
seen = {name: load(value) for name, value in values.items()}
for name, result in seen.items():
    print(f"{name}: {result}")
refused = [name for name, result in seen.items() if result.startswith("refused")]
same = refused == ["deque of two", "defaultdict", "list's subclass of two"] and "another value" not in seen.values()
sys.exit(0 if same else "the behaviour has changed")
PYTHON
