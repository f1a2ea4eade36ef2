"""What both command lines share: errors as one line, results to stdout, everything else to stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from runtime.errors import ExportSslError

# Exit code of a process that Ctrl-C ended: 128 + SIGINT.
_INTERRUPTED = 130


def result_console() -> Console:
    """Return the console for results, on stdout; its width is the terminal's, or 120 in a pipe."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=False)


def message_console() -> Console:
    """Return the console for progress and notices, on stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn the project's errors into one line on stderr and their exit code, without a traceback."""
    try:
        yield
    except ExportSslError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        print("interrupted: nothing was written", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from error
    except BrokenPipeError:
        # The reader of our output, `head` for one, has seen enough.
        sys.stderr.close()
        raise typer.Exit(0) from None


def run_app(app: Callable[[], object]) -> None:
    """Run a Typer application with one-line errors."""
    app()
