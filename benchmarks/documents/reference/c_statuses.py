"""The statuses of the C library, from its header."""

import re
from typing import NamedTuple

from benchmarks.documents.reference.sources import ROOT

HEADER = ROOT / "runtime" / "cpp" / "include" / "resnet_engine.h"
_ENUM = re.compile(r"typedef enum rne_status \{(.+?)\} rne_status;", re.DOTALL)
_STATUS = re.compile(r"(RNE_\w+) = (\d+),?(?: +/\* (.+?) \*/)?$", re.MULTILINE)


class Status(NamedTuple):
    """A value of `rne_status`.

    Attributes:
        name: Name of the status, such as `RNE_BUNDLE`.
        number: Value of the status.
        meaning: What the header says of it; the name in words where that says all.
    """

    name: str
    number: int
    meaning: str


def c_statuses() -> list[Status]:
    """Return the statuses in the order of the header."""
    found = _ENUM.search(HEADER.read_text(encoding="utf-8"))
    assert found is not None, f"{HEADER} has no rne_status"
    return [
        Status(name, int(number), meaning or name.removeprefix("RNE_").replace("_", " ").lower())
        for name, number, meaning in _STATUS.findall(found[1])
    ]
