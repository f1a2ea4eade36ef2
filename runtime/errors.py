"""The one exception tree of the project.

    ExportSslError                exit 1
    ├── UsageError                exit 2: an argument has an impossible value
    │   └── UnknownModelError     no such model; the nearest names are in the message
    ├── CheckpointError           weights that cannot be read, do not fit, or are not the ones named
    ├── HubError                  weights that cannot be fetched
    ├── DataError                 images or labels that cannot be used
    ├── MachineError              images that cannot be read now: no memory, too many open files, a server that is away
    ├── BundleError               a bundle that is absent, damaged, or of a newer schema
    ├── EngineError               an engine that is not installed, or cannot run this bundle
    ├── GraphError                a graph that a pass does not know how to treat
    ├── CalibrationError          activations without a scale, or a calibration of something else
    └── VerificationError         outputs that differ from the reference by more than the tolerance

Every message is one line and says what was given, what was expected, and the next step. The command
lines print it and exit with `exit_code`; nothing below them prints or exits.

A message may quote a stranger's file: a name with a line break, or with a terminal's escape sequence. `str` of an error
has a space for each line break, and other control characters are spelled, as in a string of Python.
"""

import re

# C0 and C1 of Unicode, DEL, and the separators of lines and paragraphs.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ExportSslError(Exception):
    """Anything that this project refuses to do, with the reason in one line."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message as one line that a terminal only shows."""
        return _CONTROL.sub(_spelled, super().__str__())


class UsageError(ExportSslError):
    """An argument has a value that no run could use."""

    exit_code = 2


class UnknownModelError(UsageError):
    """The model name is not one that timm's ResNet family knows."""


class CheckpointError(ExportSslError):
    """A checkpoint is unreadable, unsafe, does not fit the architecture, or is not the one named."""


class HubError(ExportSslError):
    """The weights are neither cached nor reachable."""


class DataError(ExportSslError):
    """A data folder, an image or a label cannot be used."""


class MachineError(ExportSslError):
    """An image cannot be read now, and the machine is the reason: to leave it out would count a whole image as bad."""


class BundleError(ExportSslError):
    """A bundle is absent, incomplete, tampered with, or newer than this version."""


class EngineError(ExportSslError):
    """An engine is not installed or cannot run this bundle."""


class GraphError(ExportSslError):
    """A graph holds something that a pass does not know how to treat."""


class CalibrationError(ExportSslError):
    """Activations cannot be calibrated, or a stored calibration belongs to something else."""


class VerificationError(ExportSslError):
    """Outputs differ from the reference by more than the stated tolerance."""


def _spelled(found: "re.Match[str]") -> str:
    return " " if found[0].isspace() else found[0].encode("unicode_escape").decode()


def named_error(kind: str, message: str) -> ExportSslError:
    """Return the error that another process met, of its own class; an `EngineError` where that is none of these."""
    known = {one.__name__: one for one in _all_kinds(ExportSslError)}
    return known.get(kind, EngineError)(message)


def _all_kinds(kind: type[ExportSslError]) -> list[type[ExportSslError]]:
    return [kind, *(below for one in kind.__subclasses__() for below in _all_kinds(one))]
