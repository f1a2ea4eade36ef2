import pytest
import typer
from rich.progress import Progress

from runtime.commands.console import message_console, one_line_errors, progress_bar, step_bar
from runtime.errors import BundleError, UsageError


def _exit_code(error):
    with pytest.raises(typer.Exit) as caught, one_line_errors():
        raise error
    return caught.value.exit_code


@pytest.mark.parametrize(("error", "code"), [(BundleError("a\n  b"), 1), (UsageError("a b"), 2)])
def test_project_error_becomes_one_line_and_its_exit_code(capsys, error, code):
    assert _exit_code(error) == code
    assert capsys.readouterr() == ("", "error: a b\n")


@pytest.mark.parametrize(("module", "extra"), [("torch", "export,cpu"), ("onnx_ir.passes", "export,cpu")])
def test_missing_package_becomes_the_command_that_installs_it(capsys, module, extra):
    assert _exit_code(ModuleNotFoundError(f"No module named {module!r}", name=module)) == 1
    assert capsys.readouterr().err == f"error: {module} is not installed: pip install 'export-ssl[{extra}]'\n"


def test_missing_module_of_our_own_is_not_hidden():
    with pytest.raises(ModuleNotFoundError), one_line_errors():
        raise ModuleNotFoundError(name="runtime.absent")


def test_interrupt_says_that_what_was_written_is_whole(capsys):
    assert _exit_code(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted: what was written is whole\n"


def test_what_the_system_refuses_is_one_line(capsys):
    assert _exit_code(OSError(28, "No space left on device", "/disk/file")) == 1
    next_step = "look at the disk and its permissions, and run the same command again"
    assert capsys.readouterr().err == f"error: /disk/file: No space left on device; {next_step}\n"
    assert _exit_code(FileNotFoundError(2, "No usable temporary directory found in\n['/']")) == 1
    assert capsys.readouterr().err.startswith("error: the system: No usable temporary directory found in ['/']; ")


def test_bar_that_never_started_prints_nothing(capsys):
    with progress_bar("compare", message_console()):
        pass
    assert capsys.readouterr() == ("", "")


def test_in_a_log_nothing_is_printed_with_releases_of_rich_that_end_a_disabled_bar_with_a_line(capsys, monkeypatch):
    monkeypatch.setattr(Progress, "stop", lambda self: self.console.print())
    with step_bar("export", message_console()) as steps:
        steps.start("trace")
    with progress_bar("compare", message_console()) as bar:
        bar.start(range(4))
    assert capsys.readouterr() == ("", "")


def test_bar_stays_on_stderr(capsys):
    with progress_bar("compare", message_console()) as bar:
        bar.start(range(4))
        bar.advance_to(4)
    assert capsys.readouterr().out == ""
