"""The version of the distribution, as the C header has it; hatchling runs this when it builds."""

import re
from pathlib import Path

_HEADER = Path(__file__).parent / "runtime" / "cpp" / "include" / "resnet_engine.h"


def header_version() -> str:
    """Return `MAJOR.MINOR.PATCH` of the header's three macros."""
    numbers = dict(re.findall(r"^#define RNE_VERSION_(\w+) (\d+)$", _HEADER.read_text(encoding="utf-8"), re.MULTILINE))
    return f"{numbers['MAJOR']}.{numbers['MINOR']}.{numbers['PATCH']}"
