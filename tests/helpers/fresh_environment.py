"""A fresh virtual environment, for the scripts that install this project as a user does; they need the network."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from tests.helpers.project import normalised

# What would lead out of the environment, or make every process compile again what it imports.
_DROPPED = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


class CommandFailedError(SystemExit):
    """A command of an environment failed; the message ends the script, unless it goes on with other environments."""


class Environment:
    """A fresh virtual environment, in which nothing of the checkout can be imported.

    Args:
        folder: Where it is made.
        python: The interpreter that makes it.
    """

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self._clean = {name: value for name, value in os.environ.items() if name not in _DROPPED}
        self._clean["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self._make(python)

    def _make(self, python: str) -> None:
        subprocess.run([python, "-m", "venv", str(self.folder)], check=True)

    def install(self, *requirements: str) -> None:
        """Install what pip's requirements say, not editable."""
        self.require("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)

    def run(
        self, command: str, *arguments: str, folder: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment.

        Args:
            command: Name of a program in the environment's `bin`.
            arguments: What follows it.
            folder: Where it runs, outside the repository; the environment's own folder by default.
            variables: Environment variables beside this process's.
        """
        return subprocess.run(
            [str(self.folder / "bin" / command), *arguments],
            cwd=folder or self.folder,
            env={**self._clean, **(variables or {})},
            capture_output=True,
            text=True,
            check=False,
        )

    def require(
        self, command: str, *arguments: str, folder: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> str:
        """Run a command that must succeed and return its output; what it said ends the script where it fails."""
        done = self.run(command, *arguments, folder=folder, variables=variables)
        if done.returncode:
            raise CommandFailedError(
                f"{command} {' '.join(arguments)} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def site_packages(self) -> Path:
        """Return the folder that packages are installed into."""
        return Path(self.require("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())

    def versions(self) -> dict[str, str]:
        """Return the version of each installed distribution, by its normalised name."""
        found = metadata.distributions(path=[str(self.site_packages())])
        return {normalised(one.metadata["Name"]): one.version for one in found}


class UvEnvironment(Environment):
    """The same, made and filled by uv, which can also choose the lowest versions: pip cannot.

    uv looks for its own settings, not for pip's. It links what it installs to its cache where both are on one disk.

    Args:
        folder: Where it is made.
        python: The interpreter, as uv's `--python` takes it.
        cache: uv's cache; None for the user's.
    """

    def __init__(self, folder: Path, python: str, cache: Path | None = None) -> None:
        self._uv = [find_uv(), *(("--cache-dir", str(cache)) if cache else ())]
        super().__init__(folder, python)

    def _make(self, python: str) -> None:
        self._call("venv", "--python", python, str(self.folder))

    def install(self, *requirements: str) -> None:
        """Install what requirements say, not editable; `-r FILE` is two of them."""
        self._call("pip", "install", "--python", str(self.folder / "bin" / "python"), *requirements)

    def compile(self, project: Path, extras: tuple[str, ...], target: Path, *, lowest: bool) -> None:
        """Write the versions that fit a project into a file of requirements.

        Args:
            project: A pyproject.toml.
            extras: Extras of the project.
            target: The file.
            lowest: Whether direct dependencies get the lowest versions that the project allows, or the newest.
        """
        resolution = "lowest-direct" if lowest else "highest"
        chosen = [word for extra in extras for word in ("--extra", extra)]
        python = str(self.folder / "bin" / "python")
        words = ("--resolution", resolution, "--python", python, "--no-annotate", "--no-header")
        self._call("pip", "compile", str(project), *chosen, *words, "--output-file", str(target))

    def _call(self, *words: str) -> None:
        run_uv([*self._uv, "--quiet", *words], self._clean)


def find_uv() -> str:
    """Return the program uv, of this environment or from PATH."""
    own = Path(sys.prefix, "bin", "uv")
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        sys.exit("uv is not installed: `make bounds` installs it, or pip install 'export-ssl[release]'")
    return found


def run_uv(words: list[str], variables: Mapping[str, str] = os.environ) -> str:
    """Run uv with the interpreters of this machine alone, and return its output.

    Raises:
        CommandFailedError: uv failed.
    """
    settings = {**variables, "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(words, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailedError(f"uv {' '.join(words[1:])} exited with {done.returncode}:\n{done.stderr}")
    return done.stdout
