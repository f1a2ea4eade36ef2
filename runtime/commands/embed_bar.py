"""How a job shows where it is: a bar on a terminal, and in a log file a line now and then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.text import Text

from runtime.commands.console import ImageBar, progress_bar
from runtime.embed.job import JobListener

# Between two lines of a log. A job of hours leaves some hundreds, one of a minute none.
_LINE_EVERY_S = 60.0


@contextmanager
def job_bar(console: Console) -> Iterator[JobListener]:
    """Yield what shows a job on stderr: what it is at, then images done, images/s and the time left."""
    with console.status("embed") as status, progress_bar("embed", console) as bar:
        yield _log(console) if not console.is_terminal else _show(status, bar)


def _show(status: Status, bar: ImageBar) -> JobListener:
    def start(images: int, done: int) -> None:
        status.stop()
        bar.start(range(images), done)

    return JobListener(
        on_stage=lambda stage: status.update(Text(f"embed: {stage}")), on_start=start, on_images=bar.advance_to
    )


def _log(console: Console) -> JobListener:
    """Return what writes lines such as `embed: 120,000 of 1,000,000 images, 512 images/s, 28 min left`."""
    said = began = time.monotonic()
    total = first = 0

    def start(images: int, done: int) -> None:
        nonlocal said, began, total, first
        said = began = time.monotonic()
        total, first = images, done

    def advance(done: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= _LINE_EVERY_S:
            said = now
            speed = (done - first) / (now - began)
            left = f"{(total - done) / speed / 60:,.0f} min left" if speed else "none of them in this run yet"
            console.print(f"embed: {done:,} of {total:,} images, {speed:,.0f} images/s, {left}")

    return JobListener(on_start=start, on_images=advance)
