"""docs/reference/python.md: the public names of the packages, read from their sources without importing them."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.documents.reference.docstrings import Docstring, parse
from benchmarks.documents.reference.markdown import anchor, code, one_line, page, prose, table
from benchmarks.documents.reference.sources import PACKAGES, module_file, parsed

Definition = ast.FunctionDef | ast.ClassDef

_INTRODUCTION = """\
# Python

<!-- Written by `make reference` from the docstrings: change the descriptions there. -->

What a package names in `__all__` is public; everything else may change at any time ([Stability](stability.md)). A name
is loaded when it is first asked for, so that `import runtime` stays cheap. [Use it from Python](../how-to/python.md)
has examples. Every error of this project is an `ExportSslError` ([Errors](errors.md))."""
# What another page describes.
_ELSEWHERE = {
    "ExportSslError": "[Errors](errors.md) has those below it.",
    "Preprocessing": "[Files of a bundle](bundle.md#preprocessing) has its fields.",
}


def python_page() -> str:
    """Return the page."""
    contents = table(
        ["package", "names"],
        [[f"`{one}`", ", ".join(f"[`{name}`](#{anchor(name)})" for name in public_names(one))] for one in PACKAGES],
    )
    return page(_INTRODUCTION, contents, *(part for package in PACKAGES for part in describe_package(package)))


def public_names(package: str) -> list[str]:
    """Return a package's `__all__`."""
    assigned = next(
        statement.value
        for statement in parsed(module_file(package)).body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
    )
    return [str(name) for name in ast.literal_eval(assigned)]


def homes(package: str) -> dict[str, str]:
    """Return for each public name of a package the module that its `__init__.py` takes it from."""
    return {
        alias.name: statement.module
        for statement in ast.walk(parsed(module_file(package)))
        if isinstance(statement, ast.ImportFrom) and statement.module is not None
        for alias in statement.names
    }


def describe_package(package: str) -> Iterator[str]:
    """Yield the parts of a package's section."""
    yield f"## {package}"
    yield prose(ast.get_docstring(parsed(module_file(package))) or "")
    modules = homes(package)
    for name in public_names(package):
        file = module_file(modules[name])
        found = [one for one in parsed(file).body if isinstance(one, Definition) and one.name == name]
        assert len(found) == 1, f"{package}.{name} is not a function or class of {file}"
        yield f"### {name}"
        yield from describe(found[0], file)


def describe(definition: Definition, file: Path) -> Iterator[str]:
    """Yield the parts of a public name's section."""
    said = parse(ast.get_docstring(definition))
    lines = file.read_text(encoding="utf-8").splitlines()
    if isinstance(definition, ast.FunctionDef):
        yield code(signature(definition, lines), "python")
        yield from sections(said)
        return
    members = [one for one in definition.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")]
    if definition.name in _ELSEWHERE:
        yield code(header(definition, lines) + " ...", "python")
        yield prose(said.prose)
        yield _ELSEWHERE[definition.name]
        return
    shown = [header(definition, lines)]
    shown += [f"    {line}" for line in field_lines(definition, lines)]
    yield code("\n".join(shown) if len(shown) > 1 else f"{shown[0]} ...", "python")
    yield from sections(said)
    for member in members:
        yield f"#### {definition.name}.{member.name}"
        yield code(signature(member, lines), "python")
        yield from sections(parse(ast.get_docstring(member)))


def header(definition: ast.ClassDef, lines: Sequence[str]) -> str:
    """Return the decorators of a class and its line, as they are written."""
    first = min([definition.lineno, *(one.lineno for one in definition.decorator_list)])
    return "\n".join(lines[first - 1 : definition.body[0].lineno - 1])


def field_lines(definition: ast.ClassDef, lines: Sequence[str]) -> Iterator[str]:
    """Yield the fields of a class, as they are written."""
    for one in definition.body:
        if isinstance(one, ast.AnnAssign) and not ast.unparse(one.target).startswith("_"):
            yield from (line.strip() for line in lines[one.lineno - 1 : one.end_lineno])


def signature(definition: ast.FunctionDef, lines: Sequence[str]) -> str:
    """Return a function without its body, as it is written."""
    first = min([definition.lineno, *(one.lineno for one in definition.decorator_list)])
    written = lines[first - 1 : definition.body[0].lineno - 1]
    margin = re.match(" *", written[0])
    assert margin is not None
    return "\n".join(line[len(margin[0]) :] for line in written).rstrip() + " ..."


def sections(said: Docstring) -> Iterator[str]:
    """Yield what a docstring says of arguments, attributes, what is returned and what is raised."""
    yield prose(said.prose)
    for section, head in (("Args", "argument"), ("Attributes", "attribute")):
        rows = [[f"`{name}`", one_line(text)] for name, text in said.entries.get(section, {}).items()]
        yield table([head, "meaning"], rows)
    for section in ("Returns", "Yields"):
        if section in said.texts:
            yield f"**{section}:** {one_line(said.texts[section])}"
    raised = [f"- `{kind}`: {one_line(text)}" for kind, text in said.entries.get("Raises", {}).items()]
    if raised:
        yield "**Raises:**"
        yield "\n".join(raised)
