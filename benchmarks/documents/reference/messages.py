"""Every error message of the packages, read from the sources: what a user can meet.

    raise BundleError(f"{file} is not JSON ({error}): {next_step}")   ->   … is not JSON (…): …

Each value in a text becomes `…`. Where a text is made elsewhere (a helper's `return`, a parameter, a field), or an
f-string has next to no words of its own, it is followed to there.
"""

import ast
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmarks.documents.reference.sources import ROOT, all_files, module_file, parsed
from runtime.errors import ExportSslError

VALUE = "…"
# An f-string with fewer letters says nothing by itself, as `{file} {what}: {next_step}`.
_LETTERS = 10
# Most nodes are these, and nothing is below them.
_LEAVES = (ast.Name, ast.Constant, ast.expr_context, ast.operator, ast.alias)
# How often a text may be followed elsewhere.
_STEPS = 8


@dataclass(frozen=True)
class Message:
    """A message.

    Attributes:
        kind: Name of its exception.
        text: Text of the message, with `…` for each value; nothing else where it passes on what a program outside says.
        file: The source file, from the root.
    """

    kind: str
    text: str
    file: str


@dataclass(frozen=True)
class _Place:
    """Where an expression stands: its module, and its function if it is in one."""

    module: ast.Module
    function: ast.FunctionDef | None


@dataclass
class _Index:
    """What the packages define and call, by name."""

    functions: dict[str, list[tuple[ast.FunctionDef, _Place]]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[str, list[tuple[ast.Call, _Place]]] = field(default_factory=lambda: defaultdict(list))
    classes: list[tuple[ast.ClassDef, _Place]] = field(default_factory=list)
    files: dict[ast.Module, Path] = field(default_factory=dict)


def error_kinds(kind: type[ExportSslError] = ExportSslError) -> list[type[ExportSslError]]:
    """Return an error and those below it, in the order of the tree."""
    return [kind, *(below for one in kind.__subclasses__() for below in error_kinds(one))]


@cache
def all_messages() -> tuple[Message, ...]:
    """Return every message of the packages, in the order of the files; Ctrl-C's are among them."""
    index = _build_index()
    kinds = {kind.__name__ for kind in error_kinds()} | {"KeyboardInterrupt"}
    raised = ((kind, call, place) for kind in kinds for call, place in index.calls[kind] if call.args)
    found = {
        Message(kind, re.sub(f"{VALUE}+", VALUE, text), index.files[place.module].relative_to(ROOT).as_posix())
        for kind, call, place in raised
        for text in _told(call.args[0], place, index)
    }
    return tuple(sorted(found, key=lambda message: (message.file, message.text, message.kind)))


def _build_index() -> _Index:
    index = _Index()
    for file in all_files():
        module = parsed(file)
        index.files[module] = file
        _add(module, _Place(module, None), index)
    return index


def _add(node: ast.AST, place: _Place, index: _Index) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _LEAVES):
            continue
        if isinstance(child, ast.FunctionDef):
            index.functions[child.name].append((child, place))
            _add(child, _Place(place.module, child), index)
            continue
        if isinstance(child, ast.ClassDef):
            index.classes.append((child, place))
        elif isinstance(child, ast.Call):
            index.calls[_name(child.func)].append((child, place))
        _add(child, place, index)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _told(node: ast.expr, place: _Place, index: _Index) -> list[str]:
    """Return the texts of a message: `…` alone only where nothing of it is known."""
    found = [text for text in _texts(node, place, index) if text]
    return [text for text in found if text != VALUE] or found


def _texts(node: ast.expr, place: _Place, index: _Index, steps: int = _STEPS) -> list[str]:
    """Return what an expression may be, with `…` for what is not known; in the order of the source."""
    if steps == 0:
        return [VALUE]
    again = [(inner, place) for inner in _alternatives(node)]
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else [VALUE]
    if isinstance(node, ast.JoinedStr):
        own = "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values)
        if sum(letter.isalpha() for letter in own) >= _LETTERS:
            return [own]
        values = [part.value if isinstance(part, ast.FormattedValue) else part for part in node.values]
        return _products([_texts(value, place, index, steps - 1) for value in values])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _products([_texts(side, place, index, steps - 1) for side in (node.left, node.right)])
    if isinstance(node, ast.Call):
        again = list(_returned(_name(node.func), place, index))
    elif isinstance(node, ast.Name):
        again = list(_assigned(node.id, place, index))
    elif isinstance(node, ast.Attribute):
        again = [*_of_property(node.attr, index), *_filled_in(node, place, index)]
    found = [text for inner, there in again for text in _texts(inner, there, index, steps - 1)]
    return list(dict.fromkeys(found)) or [VALUE]


def _alternatives(node: ast.expr) -> Sequence[ast.expr]:
    if isinstance(node, ast.IfExp):
        return (node.body, node.orelse)
    return node.values if isinstance(node, ast.BoolOp) else ()


def _products(parts: Sequence[Sequence[str]]) -> list[str]:
    return ["".join(combination) for combination in itertools.product(*parts)]


def _returned(name: str, place: _Place, index: _Index) -> Iterator[tuple[ast.expr, _Place]]:
    """Yield what the functions return that a name means at a place."""
    for function, there in index.functions[name]:
        if _means(name, there.module, place.module, index):
            yield from _results(function, there)


def _of_property(name: str, index: _Index) -> Iterator[tuple[ast.expr, _Place]]:
    """Yield what properties of a name return."""
    for function, there in index.functions[name]:
        if any(_name(one) == "property" for one in function.decorator_list):
            yield from _results(function, there)


def _results(function: ast.FunctionDef, place: _Place) -> Iterator[tuple[ast.expr, _Place]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield node.value, _Place(place.module, function)


def _means(name: str, defined: ast.Module, used: ast.Module, index: _Index) -> bool:
    """Return whether a name that one module defines is what another means by it: several have a `Finding`."""
    return defined is used or (index.files[defined], name) in _imported(used)


@cache
def _imported(module: ast.Module) -> frozenset[tuple[Path, str]]:
    return frozenset(
        (module_file(node.module), alias.name)
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    )


def _assigned(name: str, place: _Place, index: _Index) -> Iterator[tuple[ast.expr, _Place]]:
    """Yield what a variable is set to in its function, what a parameter is given, or what a module's constant is."""
    function = place.function
    for node in ast.walk(function) if function is not None else ():
        if isinstance(node, ast.NamedExpr) and node.target.id == name:
            yield node.value, place
        elif isinstance(node, ast.Assign):
            yield from ((value, there) for value, there in _targets(node, name, place, index))
    names = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)] if function is not None else []
    if function is not None and name in names:
        position = names.index(name) - (names[0] == "self")
        yield from _given(function.name, name, position, place.module, index)
        return
    for statement in place.module.body:
        if isinstance(statement, ast.Assign):
            module_place = _Place(place.module, None)
            yield from ((value, there) for value, there in _targets(statement, name, module_place, index))


def _targets(node: ast.Assign, name: str, place: _Place, index: _Index) -> Iterator[tuple[ast.expr, _Place]]:
    """Yield what an assignment gives a name, alone or as one of several that a call returns."""
    target = node.targets[0]
    if isinstance(target, ast.Name) and target.id == name:
        yield node.value, place
    elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Call):
        named = [one.id if isinstance(one, ast.Name) else "" for one in target.elts]
        if name in named:
            for value, there in _returned(_name(node.value.func), place, index):
                if isinstance(value, ast.Tuple):
                    yield value.elts[named.index(name)], there


def _given(
    called: str, name: str, position: int, defined: ast.Module, index: _Index
) -> Iterator[tuple[ast.expr, _Place]]:
    """Yield what calls of a function or class give one parameter."""
    for call, place in index.calls[called]:
        if _means(called, defined, place.module, index):
            yield from ((keyword.value, place) for keyword in call.keywords if keyword.arg == name)
            if position < len(call.args):
                yield call.args[position], place


def _filled_in(node: ast.Attribute, place: _Place, index: _Index) -> Iterator[tuple[ast.expr, _Place]]:
    """Yield what the field of a class is made with; `finding.text` is of the `Finding` that the module knows."""
    for kind, there in index.classes:
        fields = [
            one.target.id for one in kind.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        ]
        if isinstance(node.value, ast.Name) and node.value.id != "self":
            fits = node.value.id == kind.name.lower() and _means(kind.name, there.module, place.module, index)
        else:
            fits = True
        if fits and node.attr in fields:
            yield from _given(kind.name, node.attr, fields.index(node.attr), there.module, index)
