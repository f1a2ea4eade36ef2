import subprocess
import time
from pathlib import Path

import pytest

from runtime.support.child_process import ChildProcess
from tests.helpers.paths import ROOT

PROGRAM = "tests.helpers.child_program"


@pytest.fixture
def child():
    with ChildProcess(PROGRAM) as process:
        yield process


def test_lines_come_back_in_order_and_whole(child):
    lines = child.lines()
    for text in ("first", "zweite Zeile äöü", ""):
        child.send(f"echo {text}")
        assert next(lines) == text


def test_it_starts_in_the_folder_of_the_package_wherever_the_user_is(tmp_path, monkeypatch):
    # A folder of the user's that is named like the package would be found first.
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    with ChildProcess(PROGRAM) as child:
        child.send("where")
        assert Path(next(child.lines())) == ROOT


def test_half_a_line_of_a_process_that_died_is_no_answer(child):
    child.send("echo whole")
    child.send("half")
    assert list(child.lines()) == ["whole"]
    assert child.wait() == 3


def test_the_end_of_what_it_wrote_to_stderr_is_one_line(child):
    child.send("complain 10")
    assert next(child.lines()) == "complained"
    assert child.last_words() == "second last the last"


def test_a_process_that_complains_much_is_not_held_up(child):
    # A pipe holds 64 KiB and would stop it.
    child.send("complain 1000000")
    assert next(child.lines()) == "complained"
    assert child.last_words().endswith("the last")


def test_telling_a_dead_process_something_is_no_error(child):
    child.send("die 7")
    assert child.wait(60) == 7
    child.send("echo nobody")
    assert list(child.lines()) == []
    assert child.last_words() == ""


def test_waiting_for_a_living_process_ends_in_time(child):
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.05)


def test_a_process_that_has_nothing_to_do_ends_by_itself_when_closed():
    child = ChildProcess(PROGRAM)
    child.send("echo ready")
    assert next(child.lines()) == "ready"
    child.close()
    assert child.wait() == 0
    child.close()


def test_a_process_that_hangs_is_killed_when_closed():
    child = ChildProcess(PROGRAM)
    child.send("hang")
    assert next(child.lines()) == "hanging"
    began = time.monotonic()
    child.close()
    # SIGKILL; it would have slept for ten minutes.
    assert child.wait() == -9
    assert time.monotonic() - began < 60


def test_no_descriptor_is_left_open():
    def count():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(3):
        with ChildProcess(PROGRAM) as child:
            child.send("die 0")
            child.wait(60)
    assert count() == before


def test_a_module_that_does_not_exist_ends_with_its_reason():
    with ChildProcess("tests.no_such_program") as child:
        assert list(child.lines()) == []
        assert child.wait() == 1
        assert "No module named tests.no_such_program" in child.last_words()
