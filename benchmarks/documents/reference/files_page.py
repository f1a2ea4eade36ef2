"""docs/reference/bundle.md: every file of a bundle, and every field of the JSON files, from the schemas."""

import ast
import re
import typing
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from benchmarks.documents.reference.docstrings import class_attributes, parse
from benchmarks.documents.reference.markdown import anchor, one_line, page, prose, table
from benchmarks.documents.reference.sources import ROOT
from runtime.bundle import layout
from runtime.bundle.calibration_json import Calibration
from runtime.bundle.layers import LayerList
from runtime.bundle.manifest import Manifest
from runtime.bundle.plan_json import Sidecar
from runtime.bundle.results.bench_json import BenchResult
from runtime.bundle.results.changed_json import Changes
from runtime.bundle.results.compare_json import Comparison
from runtime.bundle.results.neighbours_json import NeighbourCheck
from runtime.bundle.sensitivity_json import LayerSearch
from runtime.embed.output.identity import JOB_FILE, Job
from runtime.embed.output.part_files import PLACES_FILE, RECORDS, PartRecord
from runtime.embed.output.places import Places
from runtime.serving.record import RECORD_FILE, Record

_RESULTS = layout.RESULTS_FOLDER
# What each JSON file holds, in the page's order.
SCHEMAS: dict[str, type[BaseModel]] = {
    layout.MANIFEST_FILE: Manifest,
    layout.LAYERS_FILE: LayerList,
    layout.CALIBRATION_FILE: Calibration,
    layout.SENSITIVITY_FILE: LayerSearch,
    layout.SIDECAR_FILE: Sidecar,
    f"{_RESULTS}/{layout.BENCH_FILE}": BenchResult,
    f"{_RESULTS}/{layout.COMPARE_FILE}": Comparison,
    f"{_RESULTS}/{layout.CHANGED_FILE}": Changes,
    f"{_RESULTS}/{layout.NEIGHBOURS_FILE}": NeighbourCheck,
}
OTHER_SCHEMAS: dict[str, type[BaseModel]] = {
    JOB_FILE: Job,
    f"{RECORDS}/part-000000.json": PartRecord,
    PLACES_FILE: Places,
    RECORD_FILE: Record,
}
# The unit that the end of a number's name states; of several that fit, the first.
_UNITS = {
    "images_per_s": "images/s",
    "gmacs_per_s": "1e9 MACs/s",
    "gb_per_s": "GB/s",
    "ms": "ms",
    "ms_ci95": "ms",
    "seconds": "s",
    "db": "dB",
    "bytes": "bytes",
    "gb": "GB",
    "mb": "MB",
    "mib": "MiB",
    "us": "µs",
    "mhz": "MHz",
    "temperature_c": "°C",
}
_INTRODUCTION = """\
# Files of a bundle

<!-- Written by `make reference` from runtime/bundle/ and the schemas: change the descriptions there. -->

A bundle is a folder. `export-ssl` writes it whole or not at all; everything else reads it. JSON files are UTF-8 and
hold no NaN and no infinity. Shares and accuracies are fractions. `schema_version` is raised when a meaning changes
([Stability](stability.md))."""
_OTHERS = f"""\
## Files beside bundles

`run-ssl embed` writes `{JOB_FILE}`, `{PLACES_FILE}` and the records of its parts in `{RECORDS}/`
([Embeddings](../how-to/embed.md));
`run-ssl repo` writes `{RECORD_FILE}` into each version of a model ([Serving](../how-to/serve.md))."""


def files_page() -> str:
    """Return the page."""
    shown: set[type[BaseModel]] = set()
    return page(
        _INTRODUCTION,
        table(["file", "what it holds"], files()),
        *(part for item in SCHEMAS.items() for part in describe(*item, shown=shown)),
        _OTHERS,
        *(part for item in OTHER_SCHEMAS.items() for part in describe(*item, shown=shown)),
    )


def files() -> Iterator[list[str]]:
    """Yield a row for each file that runtime/bundle/layout.py names, with the text that stands below its name."""
    body = ast.parse((ROOT / "runtime" / "bundle" / "layout.py").read_text(encoding="utf-8")).body
    folder = ""
    for statement, after in pairwise(body):
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Constant):
            continue
        name = str(statement.value.value)
        said = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        if name == layout.RESULTS_FOLDER:
            folder = f"{name}/"
            name = ""
        path = folder + name
        shown = f"[`{path}`](#{anchor(path)})" if path in SCHEMAS else f"`{path}`"
        yield [shown, one_line(str(said))]


def describe(file: str, schema: type[BaseModel], *, shown: set[type[BaseModel]]) -> Iterator[str]:
    """Yield a file's section: its outermost object, then those inside that no file before it has.

    Args:
        file: Name of the file in the bundle.
        schema: Outermost object of the file.
        shown: Schemas that the page has already; those of this file are added.
    """
    yield f"## {file}"
    for kind in objects(schema):
        if kind in shown:
            continue
        shown.add(kind)
        if kind is not schema:
            yield f"### {kind.__name__}"
        yield prose(parse(kind.__doc__).prose)
        yield table(["field", "type", "meaning"], fields(kind))


def objects(schema: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a schema and those inside it, outer ones first."""
    found = [schema]
    for kind in found:
        for field in kind.model_fields.values():
            found += [inner for inner in inner_objects(field.annotation) if inner not in found]
    return found


def inner_objects(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the schemas that a type names."""
    if isinstance(annotation, type) and not typing.get_args(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from inner_objects(inner)


def fields(kind: type[BaseModel]) -> Iterator[list[str]]:
    """Yield a row for each field of a schema."""
    said = class_attributes(kind)
    properties = kind.model_json_schema(mode="serialization")["properties"]
    for name, field in kind.model_fields.items():
        unit = next((f", {unit}" for end, unit in _UNITS.items() if f"_{name}".endswith(f"_{end}")), "")
        # The sources say None, the files null.
        meaning = re.sub(r"\bNone\b", "null", field.description or said.get(name, ""))
        yield [f"`{name}`", words(properties[name]) + unit, one_line(meaning)]


def words(schema: dict[str, Any]) -> str:
    """Return a JSON schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for key in ("anyOf", "allOf", "oneOf"):
        if key in schema:
            return " or ".join(words(one) for one in schema[key])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return array_words(schema)
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"object of {several(inner)}" if isinstance(inner, dict) and inner else "object"
    return {"boolean": "true or false", "integer": "whole number"}.get(kind, kind) + bounds(schema)


def array_words(schema: dict[str, Any]) -> str:
    """Return the JSON schema of an array in words."""
    inner = [words(one) for one in schema.get("prefixItems", ())]
    if not inner:
        return f"list of {several(schema.get('items', {}))}"
    if len(set(inner)) > 1:
        return f"list of {', '.join(inner)}"
    return f"list of {len(inner)} {several(schema['prefixItems'][0])}"


def several(schema: dict[str, Any]) -> str:
    """Return what a list holds, in words."""
    one = words(schema)
    return f"{one}s" if one in ("string", "number", "whole number") else one


def bounds(schema: dict[str, Any]) -> str:
    """Return the bounds of a number."""
    signs = {
        "minimum": "from {:g}",
        "exclusiveMinimum": "above {:g}",
        "maximum": "to {:g}",
        "exclusiveMaximum": "below {:g}",
    }
    return "".join(f" {sign.format(schema[key])}" for key, sign in signs.items() if key in schema)
