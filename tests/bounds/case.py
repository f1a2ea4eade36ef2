"""One environment under trial, and what its uses may do: run commands, expect things, keep a list of what ran."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.fresh_environment import CommandFailedError, Environment


@dataclass(frozen=True)
class Case:
    """An environment with one choice of extras, in one choice of versions.

    Attributes:
        environment: The environment.
        inputs: Bundles `fp32`, `fp16` and `int8`, `network.safetensors` and `pictures/`: they are only read.
        work: Empty folder in which commands run and write.
        commands: The commands that ran so far, as a user would type them.
    """

    environment: Environment
    inputs: Path
    work: Path
    commands: list[str] = field(default_factory=list)

    def command(self, *words: str, within: str = ".", variables: Mapping[str, str] | None = None) -> str:
        """Run a program of the environment, and return what it printed.

        Args:
            words: The program and its arguments.
            within: Folder below the working folder in which it runs.
            variables: Environment variables beside this process's.

        Raises:
            CommandFailedError: The program failed.
        """
        self._note(words)
        return self.environment.require(*words, folder=self.work / within, variables=variables)

    def run_ssl(self, *arguments: str) -> str:
        """Run `run-ssl`, and return what it printed."""
        return self.command("run-ssl", *arguments)

    def export_ssl(self, *arguments: str) -> str:
        """Run `export-ssl`, and return what it printed."""
        return self.command("export-ssl", *arguments)

    def python(self, script: str, *arguments: str) -> str:
        """Run lines of Python, and return what they printed. The list of commands leaves them out."""
        return self.environment.require("python", "-c", script, *arguments, folder=self.work).strip()

    def refused(self, *words: str, variables: Mapping[str, str] | None = None) -> str:
        """Run a program that must end with exit code 1, and return the one line that it must say then."""
        self._note(words)
        done = self.environment.run(*words, folder=self.work, variables=variables)
        if done.returncode != 1 or done.stderr.count("\n") != 1:
            raise CommandFailedError(
                f"{shlex.join(words)}: expected exit code 1 and one line, got {done.returncode}:\n{done.stderr}"
            )
        return done.stderr.strip()

    def expect(self, met: bool, otherwise: str) -> None:
        """Fail the trial with a sentence where something is not as expected."""
        if not met:
            raise CommandFailedError(otherwise)

    def _note(self, words: tuple[str, ...]) -> None:
        shown = shlex.join(words).replace(f"{self.inputs}/", "").replace(f"{self.work}/", "")
        if shown not in self.commands:
            self.commands.append(shown)


# Uses the extras for real, raises `CommandFailedError` where they do not work, and may return figures.
Use = Callable[[Case], dict[str, Any] | None]
