"""How a job shows where it is, on a terminal and in a log."""

import io
import re

import pytest
from rich.console import Console

from runtime.commands import embed_bar
from runtime.commands.embed_bar import job_bar
from runtime.errors import DataError


class Clock:
    """Stands for the module `time`; its seconds pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(embed_bar, "time", clock)
    return clock


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, highlight=False, soft_wrap=not terminal)


def written(console: Console) -> str:
    """Return all that was written."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def shown(console: Console) -> str:
    """Return what was written, without what moves and colours it."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written(console))


def test_a_log_has_a_line_a_minute_with_speed_and_time_left(clock):
    log = console(terminal=False)
    with job_bar(log) as listener:
        listener.on_stage("open the engine")
        listener.on_start(1_000_000, 100_000)
        for second in range(1, 181):
            clock.now += 1
            # 500 a second for a minute, then 1000.
            listener.on_images(100_000 + 500 * second + 500 * max(0, second - 60))
    assert shown(log).splitlines() == [
        "embed: 130,000 of 1,000,000 images, 500 images/s, 29 min left",
        "embed: 190,000 of 1,000,000 images, 750 images/s, 18 min left",
        "embed: 250,000 of 1,000,000 images, 833 images/s, 15 min left",
    ]


def test_a_job_of_under_a_minute_leaves_nothing_in_a_log(clock):
    log = console(terminal=False)
    with job_bar(log) as listener:
        listener.on_start(100, 0)
        clock.now += 59.9
        listener.on_images(100)
    assert shown(log) == ""


def test_no_image_yet_and_no_image_left_divide_by_nothing(clock):
    log = console(terminal=False)
    with job_bar(log) as listener:
        listener.on_images(0)
        listener.on_start(100, 40)
        clock.now += 60
        listener.on_images(40)
        clock.now += 60
        listener.on_images(100)
    assert shown(log).splitlines() == [
        "embed: 40 of 100 images, 0 images/s, none of them in this run yet",
        "embed: 100 of 100 images, 0 images/s, 0 min left",
    ]


def test_a_terminal_has_the_stage_then_a_bar_that_starts_at_what_was_done():
    screen = console(terminal=True)
    with job_bar(screen) as listener:
        listener.on_stage("list the images of photos")
        listener.on_start(1000, 400)
        listener.on_images(401)
        listener.on_images(700)
    text = shown(screen)
    assert "embed: list the images of photos" in text
    assert text.index("list the images") < text.index("400/1000") < text.index("700/1000")
    assert re.search(r"700/1000 [\d,]+ images/s \d+:\d\d:\d\d", text)


def test_a_bar_leaves_nothing_behind_and_gives_the_cursor_back_also_after_an_error():
    screen = console(terminal=True)

    def fail() -> None:
        with job_bar(screen) as listener:
            listener.on_start(10, 0)
            raise DataError("x")

    with pytest.raises(DataError):
        fail()
    # Rich ends with: move up and erase the line; show the cursor.
    assert written(screen).count("\x1b[?25l") == written(screen).count("\x1b[?25h")
    assert "\x1b[2K" in written(screen)[-20:]
