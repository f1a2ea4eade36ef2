"""Which extras are installed together, what they are tried with, and what pyproject.toml asks of their packages."""

from dataclasses import dataclass

from tests.bounds import thin, uses
from tests.bounds.case import Use
from tests.helpers.project import PYPROJECT, lower_bounds

EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]


@dataclass(frozen=True)
class Install:
    """A choice of extras, installed into an environment of its own.

    Attributes:
        extras: The extras; the packages of the first are what is on trial.
        use: What is done with them; None where it needs a GPU, so that versions are only resolved.
        python: The lowest Python that the packages are made for.
    """

    extras: tuple[str, ...]
    use: Use | None
    python: str = PYPROJECT["project"]["requires-python"].removeprefix(">=")

    @property
    def bounds(self) -> dict[str, str]:
        """The lower bound of each package on trial: of the first extra, or of the base."""
        return lower_bounds(EXTRAS[self.extras[0]] if self.extras else PYPROJECT["project"]["dependencies"])


# The ones with PyTorch stand together at the end: they take most of the disk and of the time.
INSTALLS: dict[str, Install] = {
    "base": Install((), thin.use_base),
    "cpu": Install(("cpu",), thin.use_cpu),
    "report": Install(("report", "cpu"), uses.use_report),
    "embed": Install(("embed", "cpu"), uses.use_embed),
    "readers": Install(("readers", "cpu"), uses.use_readers),
    "lance": Install(("lance", "cpu"), uses.use_lance),
    "search": Install(("search", "cpu"), uses.use_search),
    "scale": Install(("scale", "cpu"), uses.use_scale),
    "docs": Install(("docs",), uses.use_docs, python="3.11"),
    "release": Install(("release",), uses.use_release),
    "rtx": Install(("rtx",), uses.use_rtx),
    "rtx-cu12": Install(("rtx-cu12",), uses.use_rtx),
    "gpu": Install(("gpu", "export"), None, python="3.11"),
    "gpu-cu12": Install(("gpu-cu12", "export"), None),
    "export": Install(("export", "cpu"), uses.use_export),
    "demo": Install(("demo", "export", "cpu"), uses.use_demo),
    "dev": Install(("dev",), uses.use_dev),
    "mutation": Install(("mutation", "dev"), uses.use_mutation),
    "fuzz": Install(("fuzz", "dev"), uses.use_fuzz, python="3.11"),
}
