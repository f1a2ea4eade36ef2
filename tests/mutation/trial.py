"""Tries mutants in a copy of the project, so that neither the files of the repository nor its caches change."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.helpers.cpp.preprocess import require_compiler
from tests.mutation.judged import Judged
from tests.mutation.mutants import Mutant, is_python_change

Outcome = Literal["killed", "survived", "timed out"]
# Threads beside one another would only make the times uneven.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# The same examples for every mutant, nothing kept between them, and the end at the first failure.
_PYTEST = (
    *("-x", "-q", "--hypothesis-seed=0", "-p", "no:cacheprovider", "--basetemp=build/pytest"),
    # The fork server has imported some packages already.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
# A mutant may take so many times the processor time of the unchanged code, and the seconds beside; then it is endless.
_TIMES, _BESIDE_S = 6.0, 20.0
_FIRST_LIMIT_S = 600.0
# Flags of the C++ that the tests build; tests/runtime/cpp/test_preprocess.py.
_CPP_FLAGS = ("-std=c++17", "-O2")


class TrialError(Exception):
    """The tests do not pass on the unchanged code, so they judge nothing."""


@dataclass(frozen=True)
class Bench:
    """A copy of the project with a process that runs tests in it.

    Attributes:
        folder: The copy.
        process: What runs the tests, `fork_server.py`.
    """

    folder: Path
    process: "subprocess.Popen[str]"

    def measure(self, judged: Judged) -> float:
        """Return how long the tests of a part take on the unchanged code, seconds of processor time.

        Raises:
            TrialError: The tests do not pass.
        """
        code, seconds, said = self._run_pytest(judged, limit_s=_FIRST_LIMIT_S)
        if code != 0:
            raise TrialError(f"the tests do not pass on the unchanged code: {' '.join(judged.tests)}\n{said}")
        return seconds

    def is_change(self, mutant: Mutant, text: str) -> bool:
        """Return whether a mutant compiles, to something else than the file in the copy.

        Args:
            mutant: The mutant.
            text: Text of its file with the change.
        """
        file = self.folder / mutant.file
        before = file.read_text(encoding="utf-8")
        if file.suffix == ".py":
            return is_python_change(before, text)
        if text == before or (changed := self._object_of(file, text)) is None:
            return False
        return changed != self._object_of(file, before)

    def judge(self, mutant: Mutant, text: str, judged: Judged, *, seconds: float) -> Outcome:
        """Return what the tests say of a mutant.

        Args:
            mutant: The mutant.
            text: Text of its file with the change.
            judged: The tests.
            seconds: How long they take on the unchanged code, seconds of processor time.
        """
        file = self.folder / mutant.file
        before = file.read_text(encoding="utf-8")
        try:
            self._write(file, text)
            code, _, _ = self._run_pytest(judged, limit_s=_TIMES * seconds + _BESIDE_S)
        finally:
            self._write(file, before)
        return "timed out" if code is None else "killed" if code else "survived"

    def _run_pytest(self, judged: Judged, *, limit_s: float) -> tuple[int | None, float, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        shutil.rmtree(self.folder / ".hypothesis", ignore_errors=True)
        request = {"words": [*_PYTEST, *judged.tests], "limit_s": limit_s, "packages": judged.packages}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["code"], answer["seconds"], answer["said"]

    @staticmethod
    def _write(file: Path, text: str) -> None:
        file.write_text(text, encoding="utf-8")
        # Python takes what it compiled before for the same where the size and the second are.
        if file.suffix == ".py":
            Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)

    def _object_of(self, file: Path, text: str) -> bytes | None:
        """Return what a C++ text compiles to, or None where the compiler refuses it."""
        made = self.folder / "build" / "mutant.o"
        words = [require_compiler(), *_CPP_FLAGS, f"-I{file.parent}", f"-I{file.parents[1] / 'include'}"]
        done = subprocess.run(
            [*words, "-w", "-x", "c++", "-c", "-", "-o", str(made)],
            input=text.encode(),
            capture_output=True,
            check=False,
        )
        return None if done.returncode else made.read_bytes()


@contextmanager
def open_bench(root: Path, folder: Path) -> Iterator[Bench]:
    """Copy a project and start what runs its tests; both are gone afterwards.

    Args:
        root: The project, a checkout of git.
        folder: Where the copy is made; what is there goes.
    """
    shutil.rmtree(folder, ignore_errors=True)
    _copy(root, folder)
    (folder / "build").mkdir(exist_ok=True)
    variables = {**os.environ, **_ONE_THREAD, "PYTHONPATH": str(folder), "TMPDIR": str(folder / "build")}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    words = [sys.executable, str(Path(__file__).with_name("fork_server.py"))]
    pipe = subprocess.PIPE
    try:
        with subprocess.Popen(words, cwd=folder, env=variables, stdin=pipe, stdout=pipe, text=True) as process:
            try:
                yield Bench(folder, process)
            finally:
                process.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(root: Path, folder: Path) -> None:
    """Copy what git knows of, or would add."""
    words = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(words, capture_output=True, check=True, text=True).stdout.split("\0"):
        source = root / name
        if name and source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
