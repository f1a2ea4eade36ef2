"""What the base install and the engines' one promise: thin, sufficient, and quick to import."""

import json
import re
import statistics
from typing import Any

from benchmarks.thin.installed_size import installed, size_mb
from tests.bounds.case import Case
from tests.helpers.project import OPTIONAL_DISTRIBUTIONS

IMPORT_RUNS = 21
# Milliseconds of processor time, so that another process on the same core costs nothing: since the interpreter's start.
IMPORT_SCRIPT = """
import sys, time
began = time.process_time()
exec(sys.argv[1])
print(1000 * (time.process_time() - began))
"""
# In turn, so that all of them meet the same machine. The last is what opening any bundle needs, before an engine.
IMPORTS = ("import numpy", "import runtime", "import runtime.engines.open_engine")
MODULES_SCRIPT = """
import importlib, pkgutil, runtime
names = ["runtime", *(module.name for module in pkgutil.walk_packages(runtime.__path__, "runtime."))]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
LOADED_SCRIPT = """
import json, sys
import runtime, runtime.engines.open_engine
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def use_base(case: Case) -> dict[str, Any]:
    """Return the size and import times of the install without an extra, after checking it."""
    unwanted = OPTIONAL_DISTRIBUTIONS & set(case.environment.versions())
    case.expect(not unwanted, f"the base install brought {sorted(unwanted)}")
    modules = int(case.python(MODULES_SCRIPT))
    heavy = {"torch", "onnx"} & set(json.loads(case.python(LOADED_SCRIPT)))
    case.expect(not heavy, f"importing the runtime loaded {sorted(heavy)}")
    for arguments in (["--help"], ["verify", "--help"], ["compare", "--help"]):
        text = case.run_ssl(*arguments)
        # Typer up to 0.17.0 adds this to options whose help already states the default.
        case.expect("default: None" not in text, f"run-ssl {' '.join(arguments)} shows a default that is none")
    refused = case.refused("run-ssl", "verify", str(case.inputs / "fp32"))
    case.expect("export-ssl[cpu]" in refused, f"verify without an engine says {refused!r}, and names no extra")
    return {"modules": modules, "size_mb": total_mb(case), "import_ms": import_times(case)}


def use_cpu(case: Case) -> dict[str, Any]:
    """Return the size of the install with both engines, after bundles were run in each, without torch."""
    heavy = {"torch", "onnx"} & set(case.environment.versions())
    case.expect(not heavy, f"the extra cpu brought {sorted(heavy)}")
    for bundle in ("fp32", "fp16", "int8"):
        said = case.run_ssl("verify", str(case.inputs / bundle))
        for engine in ("onnxruntime", "openvino"):
            case.expect(re.search(rf"\b{engine}\b", said) is not None, f"verify of {bundle} does not name {engine}")
    return {"size_mb": total_mb(case)}


def total_mb(case: Case) -> float:
    """Return the size of everything that is installed, without this project itself, in MB of 1,000,000 bytes."""
    found = installed(case.environment.site_packages())
    return round(sum(size_mb(one) for name, one in found.items() if name != "export-ssl"), 1)


def import_times(case: Case) -> dict[str, float]:
    """Return the median time of each of `IMPORTS`, in milliseconds of processor time of fresh processes."""
    case.python(IMPORT_SCRIPT, IMPORTS[-1])  # compiles what it imports, once
    rounds = [[float(case.python(IMPORT_SCRIPT, what)) for what in IMPORTS] for _ in range(IMPORT_RUNS)]
    return {
        what: round(statistics.median(times), 1) for what, times in zip(IMPORTS, zip(*rounds, strict=True), strict=True)
    }
