"""`--version`: what a report of a fault begins with."""

import sys

import pytest
import typer
from typer.testing import CliRunner

from exporter.cli import app as export_app
from runtime.commands.run_ssl import app as run_app
from tests.helpers.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
commands = pytest.mark.parametrize(("app", "name"), [(run_app, "run-ssl"), (export_app, "export-ssl")])


@commands
def test_version_is_that_of_the_project_and_needs_nothing_else(app: typer.Typer, name: str) -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"{name} {VERSION}\n"
