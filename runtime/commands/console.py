"""What both command lines share: errors as one line, results to stdout, everything else to stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from operator import length_hint

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from runtime.commands.interruption import INTERRUPTED
from runtime.errors import ExportSslError

# Which extra brings a package that a command may find missing; see pyproject.toml.
_EXTRAS = {
    **dict.fromkeys(("torch", "timm", "onnx", "onnx_ir", "onnxscript", "onnxsim"), "export,cpu"),
    **dict.fromkeys(("safetensors", "huggingface_hub"), "export,cpu"),
    **dict.fromkeys(("onnxruntime", "openvino"), "cpu"),
    "plotly": "report",
    "pyarrow": "embed",
    "lance": "lance",
    "faiss": "search",
    "ray": "scale",
}


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
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        print(f"error: {error.name} is not installed: pip install 'export-ssl[{extra}]'", file=sys.stderr)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        # It may come when all is written and the result is being printed: what is there is whole, and no more is known.
        print(f"interrupted: {str(error) or 'what was written is whole'}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from error
    except BrokenPipeError:
        # The reader of our output, `head` for one, has seen enough.
        sys.stderr.close()
        raise typer.Exit(0) from None
    except OSError as error:
        # What the code looks for has an error of its own. The rest is the machine's: a full folder of temporary files,
        # a terminal or a disk that went away.
        print(f"error: {_describe(error)}", file=sys.stderr)
        raise typer.Exit(1) from error


def _describe(error: OSError) -> str:
    """Return in one line what the system refused."""
    what = str(error.filename) if error.filename is not None else "the system"
    reason = " ".join((error.strerror or str(error)).split())
    return f"{what}: {reason}; look at the disk and its permissions, and run the same command again"


class _SpeedColumn(ProgressColumn):
    """Images per second, once there are some."""

    def render(self, task: Task) -> Text:
        """Return the speed of one bar."""
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "")


class ImageBar:
    """A progress bar over images, which appears when they are open."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def start(self, images: object, done: int = 0) -> None:
        """Show the bar, with an end where `images` has a length or the hint of one (PEP 424).

        Args:
            images: What is gone through.
            done: How many of them an earlier run did; they count for the bar and not for its speed.
        """
        self._task = self._progress.add_task("images", total=length_hint(images, 0) or None, completed=done)
        self._progress.start()

    def advance_to(self, done: int) -> None:
        """Move the bar to the number of images done."""
        if self._task is not None:
            self._progress.update(self._task, completed=done)

    def stop(self) -> None:
        """Take the bar away, if it ever appeared."""
        if self._task is not None:
            self._progress.stop()


class StepBar:
    """One line that says what is being done, with a bar where its steps can be counted."""

    def __init__(self, what: str, progress: Progress) -> None:
        self._what = what
        self._progress = progress
        self._task = progress.add_task(what, total=None)

    def start(self, stage: str, steps: int | None = None) -> None:
        """Show another stage; `steps` is how many steps it has, None where that is not known."""
        self._progress.reset(self._task, total=steps, description=f"{self._what}: {stage}")

    def advance(self, steps: int) -> None:
        """Move the bar by some steps."""
        self._progress.advance(self._task, steps)

    def advance_to(self, done: int) -> None:
        """Move the bar to the number of steps done."""
        self._progress.update(self._task, completed=done)


class _TerminalProgress(Progress):
    """A display that leaves nothing where it is disabled: older releases of rich print an empty line as it stops."""

    def stop(self) -> None:
        """Take the display away, if there is one."""
        if not self.disable:
            super().stop()


@contextmanager
def step_bar(what: str, console: Console) -> Iterator[StepBar]:
    """Yield a line for work in stages, on stderr. Nothing of it stays behind, and a log file sees nothing of it."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), _CountColumn(), TimeElapsedColumn())
    progress = _TerminalProgress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with progress:
        yield StepBar(what, progress)


class _CountColumn(ProgressColumn):
    """Steps done, of how many, or nothing where the stage has no steps."""

    def render(self, task: Task) -> Text:
        """Return the count of one bar."""
        if task.total:
            return Text(f"{task.completed:,.0f}/{task.total:,.0f}")
        return Text(f"{task.completed:,.0f} done" if task.completed else "")


@contextmanager
def progress_bar(what: str, console: Console) -> Iterator[ImageBar]:
    """Yield a bar with images done, images/s and the time left, on stderr.

    Nothing of it stays behind, and a log file sees nothing of it.
    """
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), _SpeedColumn(), TimeRemainingColumn())
    bar = ImageBar(_TerminalProgress(*columns, console=console, transient=True, disable=not console.is_terminal))
    try:
        yield bar
    finally:
        bar.stop()
