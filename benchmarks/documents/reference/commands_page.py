"""docs/reference/commands.md: every command with its options, from the functions that Typer makes commands of.

What is read is `typer.Option(...)` beside each parameter: Typer's own objects differ from version to version.
"""

import inspect
import re
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typer import Typer
from typer.models import ArgumentInfo, OptionInfo

from benchmarks.documents.reference.markdown import anchor, code, one_line, page, prose, table
from benchmarks.documents.reference.sources import ROOT
from exporter.cli import app as export_app
from runtime.commands.run_ssl import app as run_app

# The pages that explain a command, the first one best; from docs/reference/.
HOW_TO = {
    "export-ssl": ("export", "int8", "tensorrt", "serve", "cpp"),
    "run-ssl verify": ("verify-and-compare",),
    "run-ssl compare": ("verify-and-compare",),
    "run-ssl bench": ("benchmark",),
    "run-ssl report": ("report",),
    "run-ssl build": ("tensorrt",),
    "run-ssl explain": ("tensorrt",),
    "run-ssl doctor": ("install",),
    "run-ssl embed": ("embed",),
    "run-ssl search": ("search",),
    "run-ssl repo": ("serve",),
}
_INTRODUCTION = """\
# Commands

<!-- Written by `make reference` from the commands' own options: change the help texts there. -->

`export-ssl` makes bundles, `run-ssl` uses them. `--help` prints the same as this page. Results go to stdout, progress,
notices and errors to stderr; [Exit codes](exit-codes.md) says how a command ends."""
# The heading of options that stand under none.
_OPTIONS = "Options"
_NEEDS_GPU = ("run-ssl build", "tensorrt", "gpu")


@dataclass(frozen=True)
class Parameter:
    """An argument or an option, each cell in Markdown.

    Attributes:
        panel: The heading that it stands under in the help; None for an argument.
        names: Names of the option, as a usage line has them.
        values: What it takes, in words; empty for a flag.
        default: Default of the option; empty where there is none.
        text: What it does.
    """

    panel: str | None
    names: str
    values: str
    default: str
    text: str


def commands_page() -> str:
    """Return the page."""
    commands = dict(all_commands())
    contents = table(
        ["command", "what it does"],
        [[f"[`{name}`](#{anchor(name)})", one_line(summary(commands[name]))] for name in HOW_TO],
    )
    return page(_INTRODUCTION, contents, *(part for name in HOW_TO for part in describe(name, commands[name])))


def all_commands() -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield the name of each command with its function."""
    for program, app in (("export-ssl", export_app), ("run-ssl", run_app)):
        functions = [command.callback for command in app.registered_commands if command.callback is not None]
        for function in functions:
            yield program if is_alone(app) else f"{program} {function.__name__.replace('_', '-')}", function


def is_alone(app: Typer) -> bool:
    """Return whether a program is one command without subcommands, as Typer sees it."""
    return len(app.registered_commands) == 1 and app.registered_callback is None


def summary(function: Callable[..., object]) -> str:
    """Return the first sentence of a command's help."""
    return inspect.cleandoc(function.__doc__ or "").split("\n\n", 1)[0]


def is_example_line(line: str) -> bool | None:
    """Return whether a line of the help is an example; None for an empty one."""
    return line.startswith("  ") if line.strip() else None


def examples(lines: Sequence[str]) -> Iterator[str]:
    """Yield examples as blocks: those for a GPU are marked as the tests of the documents want it."""
    for mark, group in groupby(lines, mark_of):
        yield mark + code("\n".join(line.strip() for line in group), "")


def mark_of(example: str) -> str:
    """Return what stands above an example."""
    return "<!-- needs: gpu -->\n" if any(word in example for word in _NEEDS_GPU) else ""


def describe(name: str, function: Callable[..., object]) -> Iterator[str]:
    """Yield the parts of a command's section."""
    yield f"## {name}"
    # Examples are indented in the help.
    # What stands empty between two examples does not part them.
    text = re.sub(r"(?m)(^  .+\n)\n(?=  )", r"\1", inspect.cleandoc(function.__doc__ or ""))
    for is_example, group in groupby(text.splitlines(), is_example_line):
        lines = list(group)
        yield from examples(lines) if is_example else [prose("\n".join(lines))]
    links = [f"[{title(stem)}](../how-to/{stem}.md)" for stem in HOW_TO[name]]
    yield f"In use: {' · '.join(links)}"
    given = list(parameters(function))
    panels = dict.fromkeys([None, _OPTIONS, *(one.panel for one in given)])
    for panel in panels:
        rows = [[one.names, one.values, one.default, one.text] for one in given if one.panel == panel]
        if rows:
            yield f"**{panel}**" if panel else ""
            yield table(["option" if panel else "argument", "value", "default", "what it is"], rows)


def title(stem: str) -> str:
    """Return the heading of a page of docs/how-to/."""
    return (ROOT / "docs" / "how-to" / f"{stem}.md").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def parameters(function: Callable[..., object]) -> Iterator[Parameter]:
    """Yield a command's arguments and options in its order; a parameter without either is Typer's own affair."""
    # Not get_type_hints: before Python 3.11 it puts an Optional around a type whose default is None.
    for name, given in inspect.signature(function, eval_str=True).parameters.items():
        hint = given.annotation
        kind, info = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
        if isinstance(info, OptionInfo | ArgumentInfo) and not info.hidden:
            is_argument = isinstance(info, ArgumentInfo)
            yield Parameter(
                panel=None if is_argument else info.rich_help_panel or _OPTIONS,
                names=argument_name(name, kind, info) if is_argument else option_names(name, kind, info),
                values="" if kind is bool else value_words(kind, info),
                default=default_words(given.default, info),
                text=one_line(info.help or ""),
            )


def argument_name(name: str, kind: Any, info: Any) -> str:
    """Return an argument as a usage line has it."""
    shown = info.metavar or name.upper()
    return f"`{shown} …`" if get_origin(kind) is list else f"`{shown}`"


def option_names(name: str, kind: Any, info: Any) -> str:
    """Return an option's names; a flag whose name Typer makes has one that turns it off too."""
    plain = f"--{name.replace('_', '-')}"
    # Inside Annotated the first name stands where a default would.
    named = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str)]
    names = named or ([plain, f"--no-{plain[2:]}"] if kind is bool else [plain])
    return ", ".join(f"`{one}`" for one in names)


def value_words(kind: Any, info: Any) -> str:
    """Return in words what values a parameter takes."""
    kinds = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) in (Union, types.UnionType):
        return value_words(kinds[0], info)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in choices(kind))
    if get_origin(kind) is list:
        return f"{value_words(kinds[0], info)}, one or more"
    noun = {int: "whole number", float: "number", Path: "path", str: "text"}[kind]
    if info.min is not None and info.max is not None:
        return f"{noun}, {info.min} to {info.max}"
    return noun if info.min is None else f"{noun}, at least {info.min}"


def choices(kind: Any) -> list[str]:
    """Return the values of a Literal, those of a Literal in it too."""
    return [choice for one in get_args(kind) for choice in (choices(one) if get_origin(one) is Literal else [one])]


def default_words(default: object, info: Any) -> str:
    """Return a parameter's default as the help has it."""
    if isinstance(info.show_default, str):
        return one_line(info.show_default)
    if default is inspect.Parameter.empty:
        return "required"
    if isinstance(default, bool):
        return "on" if default else ""
    return "" if default in (None, "") else f"`{default}`"
