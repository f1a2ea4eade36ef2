"""The mutants of a source file: small changes, of which a test should see each.

Python's are cosmic-ray's, C++'s are universalmutator's. The project's own part is what is left out, because no test of
behaviour can or need see it: types, messages and assertions of what cannot happen.
"""

import ast
import contextlib
import io
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

# Rules of universalmutator, from the general to those of the language.
_CPP_RULES = ("universal.rules", "c_like.rules", "cpp.rules")


@dataclass(frozen=True)
class Mutant:
    """A change of one place.

    Attributes:
        file: Path from the repository's root.
        line: Number of the changed line, from 1.
        column: Where on the line the change begins, from 0; 0 throughout for C++.
        operator: Name of the rule, as the library has it.
        make: Returns the whole file's text with the change.
    """

    file: str
    line: int
    column: int
    operator: str
    make: Callable[[], str]


def mutants_of(file: str, text: str) -> list[Mutant]:
    """Return all mutants of a file, in its order.

    Args:
        file: Path from the repository's root, which ends in `.py` or `.cpp`.
        text: What is in it.
    """
    return _of_python(file, text) if file.endswith(".py") else _of_cpp(file, text)


def draw(mutants: Sequence[Mutant], *, seed: int) -> list[Mutant]:
    """Return mutants in a random order in which no place comes twice before every place came once.

    The libraries make eleven mutants of a `+` and one of an `if`; drawn without regard to places, most of a sample
    would be arithmetic.

    Args:
        mutants: Mutants of one or several files.
        seed: Seed of the random order.
    """
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    places: dict[tuple[str, int, int], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        places[mutant.file, mutant.line, mutant.column].append(mutant)
    for of_place in places.values():
        rng.shuffle(of_place)
    drawn: list[Mutant] = []
    for turn in range(max(map(len, places.values()), default=0)):
        of_turn = [of_place[turn] for of_place in places.values() if len(of_place) > turn]
        rng.shuffle(of_turn)
        drawn += of_turn
    return drawn


def changed_lines(before: str, after: str) -> tuple[str, str]:
    """Return the lines in which two texts differ, each side stripped and joined by spaces."""
    first, second = before.splitlines(), after.splitlines()
    start = next((i for i, (one, other) in enumerate(zip(first, second, strict=False)) if one != other), None)
    if start is None:
        start = min(len(first), len(second))
    end = 0
    while end < min(len(first), len(second)) - start and first[-1 - end] == second[-1 - end]:
        end += 1
    sides = (lines[start : len(lines) - end] for lines in (first, second))
    old, new = (" ".join(line.strip() for line in side) for side in sides)
    return old, new


def is_python_change(before: str, after: str) -> bool:
    """Return whether a text is Python, and means something else than the text before."""
    try:
        return ast.dump(ast.parse(before)) != ast.dump(ast.parse(after))
    except SyntaxError:
        return False


def _of_python(file: str, text: str) -> list[Mutant]:
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    nodes = list(ast_nodes(get_ast(text)))
    left_out = _left_out(ast.parse(text))
    found = []
    for name in plugins.operator_names():
        operator = plugins.get_operator(name)
        # The two that need arguments change variables that a user names.
        if operator.arguments():
            continue
        starts = [start for node in nodes for start, _ in operator().mutation_positions(node)]
        for occurrence, (line, column) in enumerate(starts):
            if not any(first <= (line, column) < last for first, last in left_out):
                make = partial(mutate_code, text, operator(), occurrence)
                found.append(Mutant(file, line, column, name.removeprefix("core/"), make))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.column))


Place = tuple[int, int]


def _left_out(tree: ast.Module) -> list[tuple[Place, Place]]:
    """Return the spans without mutants: types, the `*` among parameters, what is raised, assertions."""
    spans: list[tuple[Place, Place]] = []
    # Of these pydantic makes checks; `int | None` is no arithmetic all the same.
    fields = {item for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for item in node.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            spans += _unions(node.annotation) if node in fields else [_span(node.annotation)]
        elif isinstance(node, ast.arg) and node.annotation is not None:
            spans.append(_span(node.annotation))
        elif isinstance(node, ast.FunctionDef):
            spans += [_span(node.returns)] if node.returns is not None else []
            spans += _star(node)
        elif isinstance(node, ast.Raise | ast.Assert):
            spans.append(_span(node))
    return spans


def _span(node: ast.expr | ast.stmt) -> tuple[Place, Place]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _unions(annotation: ast.expr) -> list[tuple[Place, Place]]:
    """Return where the `|` of a type stand."""
    unions = (node for node in ast.walk(annotation) if isinstance(node, ast.BinOp))
    return [(_span(union.left)[1], _span(union.right)[0]) for union in unions]


def _star(function: ast.FunctionDef) -> list[tuple[Place, Place]]:
    """Return what lies between a function's positional parameters and those by name alone, defaults left aside."""
    given = function.args
    if not given.kwonlyargs or given.vararg is not None:
        return []
    before = [*given.posonlyargs, *given.args]
    expressions = [_span(one)[1] for one in given.defaults]
    places = [*((one.end_lineno or 0, one.end_col_offset or 0) for one in before), *expressions]
    first = given.kwonlyargs[0]
    return [(max(places, default=(function.lineno, function.col_offset)), (first.lineno, first.col_offset))]


def _of_cpp(file: str, text: str) -> list[Mutant]:
    from universalmutator.mutator import mutants_regexp

    lines = text.splitlines(keepends=True)
    # It prints which rules it takes.
    with contextlib.redirect_stdout(io.StringIO()):
        made: list[tuple[Any, ...]] = mutants_regexp(
            lines, list(_CPP_RULES), ignorePatterns=[r"^\s*//", "throw |assert"]
        )
    return [
        Mutant(file, number, 0, rule[0], partial(_with_line, lines, number, line)) for number, line, rule, *_ in made
    ]


def _with_line(lines: Sequence[str], number: int, line: str) -> str:
    return "".join([*lines[: number - 1], line, *lines[number:]])
