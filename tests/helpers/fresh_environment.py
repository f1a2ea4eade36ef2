"""A fresh virtual environment, for the scripts that install this project as a user does. pip needs the network."""

import os
import subprocess
import sys
from pathlib import Path


class Environment:
    """A fresh virtual environment, in which nothing of the checkout can be imported.

    Args:
        folder: Where it is made.
        python: The interpreter that makes it.
    """

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self._clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._clean["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        subprocess.run([python, "-m", "venv", str(folder)], check=True)

    def install(self, *requirements: str) -> None:
        """Install what pip's requirements say, not editable."""
        self.require("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)

    def run(self, command: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment, in a folder outside the repository; the environment's own by default."""
        return subprocess.run(
            [str(self.folder / "bin" / command), *arguments],
            cwd=folder or self.folder,
            env=self._clean,
            capture_output=True,
            text=True,
            check=False,
        )

    def require(self, command: str, *arguments: str, folder: Path | None = None) -> str:
        """Run a command that must succeed and return its output; what it said ends the script where it fails."""
        done = self.run(command, *arguments, folder=folder)
        if done.returncode:
            sys.exit(f"{command} {' '.join(arguments)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout
