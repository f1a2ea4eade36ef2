"""docs/reference/errors.md and exit-codes.md: the exceptions, from runtime/errors.py, and what to read about each."""

from collections.abc import Iterator

from benchmarks.documents.reference.c_statuses import c_statuses
from benchmarks.documents.reference.docstrings import parse
from benchmarks.documents.reference.markdown import code, one_line, page, table
from benchmarks.documents.reference.messages import Message, all_messages, error_kinds
from benchmarks.documents.reference.troubleshooting import Paragraph, paragraph_for, paragraphs
from runtime.errors import ExportSslError

_TROUBLESHOOTING = "../how-to/troubleshooting.md"
_MADE = "<!-- Written by `make reference` from runtime/errors.py and the messages of the code: change them there. -->"
_ERRORS = f"""\
# Errors

{_MADE}

Every error is one line on stderr. It says what was given, what was expected, and the next step. In Python they are
exceptions of `runtime.errors`, all below `ExportSslError`."""
_STATUSES = """\
## The C library

A function of `resnet_engine.h` that fails returns a status, and `rne_last_error()` says the rest in one line."""
_PARAGRAPHS = """\
## What to do

Each message of the code leads to a paragraph of [Troubleshooting](../how-to/troubleshooting.md). Search that page for
a few words of yours, or look here by exception."""
_EXIT_CODES = f"""\
# Exit codes

{_MADE}

Both commands end with one of these codes:"""
_MORE = """\
`run-ssl bench --against` and `run-ssl embed --check --min-recall` exit with 1 when what was measured is worse than what
was asked for. A job of `run-ssl embed` that finished exits with 1 when images could not be read: `_unreadable.csv`
names them. [Errors](errors.md) lists the exceptions."""


def errors_page() -> str:
    """Return docs/reference/errors.md."""
    kinds = error_kinds()
    rows = [[f"`{one.__name__}`", str(one.exit_code), one_line(parse(one.__doc__).prose)] for one in kinds]
    return page(
        _ERRORS,
        code("\n".join(tree(ExportSslError)), "text"),
        table(["exception", "exit code", "meaning"], rows),
        _STATUSES,
        table(["status", "value", "meaning"], statuses(paragraphs())),
        _PARAGRAPHS,
        *led_to(all_messages(), paragraphs()),
    )


def statuses(page: list[Paragraph]) -> Iterator[list[str]]:
    """Yield a row for each status of the C library, with a link to its paragraph."""
    for status in c_statuses():
        links = [f"[`{status.name}`]({_TROUBLESHOOTING}#{one.anchor})" for one in page if status.name in one.quotations]
        yield [*(links or [f"`{status.name}`"]), str(status.number), one_line(status.meaning)]


def tree(kind: type[ExportSslError], before: str = "") -> Iterator[str]:
    """Yield the lines of an error and those below it, as a drawn tree."""
    yield kind.__name__ if not before else before[:-4] + ("├── " if before[-4] == "│" else "└── ") + kind.__name__
    below = kind.__subclasses__()
    for one in below:
        yield from tree(one, before + ("│   " if one is not below[-1] else "    "))


def led_to(messages: tuple[Message, ...], page: list[Paragraph]) -> Iterator[str]:
    """Yield for each exception a list of the paragraphs that its messages lead to, in the order of the page."""
    for kind in error_kinds():
        found = {paragraph_for(message, page) for message in messages if message.kind == kind.__name__}
        links = [f"- [{one.heading}]({_TROUBLESHOOTING}#{one.anchor})" for one in page if one in found]
        if links:
            yield f"### {kind.__name__}"
            yield "\n".join(links)


def exit_codes_page() -> str:
    """Return docs/reference/exit-codes.md."""
    kinds = error_kinds()
    named = {
        exit_code: ", ".join(f"`{one.__name__}`" for one in kinds if one.exit_code == exit_code) for exit_code in (1, 2)
    }
    rows = [
        ["0", "done, and every check passed"],
        ["1", f"a check failed, or the command stopped with one line `error: …` on stderr: {named[1]}"],
        ["2", f"an argument is wrong, by Typer's own check or the command's: {named[2]}"],
        ["130", "interrupted with Ctrl-C; a line on stderr says what was kept"],
        ["129, 143", "interrupted by SIGHUP or SIGTERM, as by Ctrl-C"],
    ]
    return page(_EXIT_CODES, table(["code", "meaning"], rows), _MORE)
