"""`--version`: what a report of a fault begins with."""

import re
from importlib import metadata

import pytest
import typer
from typer.testing import CliRunner

from exporter.cli import app as export_app
from runtime.commands.run_ssl import app as run_app
from tests.helpers.paths import ROOT

HEADER = (ROOT / "runtime/cpp/include/resnet_engine.h").read_text(encoding="utf-8")
VERSION = ".".join(re.search(rf"RNE_VERSION_{part} (\d+)", HEADER)[1] for part in ("MAJOR", "MINOR", "PATCH"))
commands = pytest.mark.parametrize(("app", "name"), [(run_app, "run-ssl"), (export_app, "export-ssl")])


@commands
def test_version_is_that_of_the_project_and_needs_nothing_else(app: typer.Typer, name: str) -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"{name} {VERSION}\n"


def test_the_installed_distribution_has_the_version_of_the_header() -> None:
    assert metadata.version("export-ssl") == VERSION
