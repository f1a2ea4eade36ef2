"""What workers answer. What goes wrong is an answer too: Ray would wrap an exception, repeat it, and print it in pages.

An answer is a row of Ray Data: plain values by column. `number` is its piece's; `kind` and `failure` are the class and
the message of the error that the piece met, both empty where it is done.
"""

import socket
from pathlib import Path
from typing import Any

from runtime.errors import DataError, ExportSslError, named_error
from runtime.support.words import printable

Row = dict[str, Any]


def answer(number: int, *, failure: Exception | None = None, **values: Any) -> Row:
    """Return the answer to a piece; `values` are its further columns, the same ones in every answer of a job."""
    kind = type(failure).__name__ if failure is not None else ""
    return {"number": number, **values, "kind": kind, "failure": _in_words(failure)}


def _in_words(failure: Exception | None) -> str:
    """Return a failure's reason as UTF-8 can hold it; of one that nothing foresaw, where it was met too."""
    if failure is None:
        return ""
    reason = str(failure)
    if not isinstance(failure, ExportSslError):
        reason = f"{here()}: {type(failure).__name__}: {reason}; run the job without --ray to see where"
    return printable(reason)


def raise_failure(row: Row) -> None:
    """Raise the error that an answer tells of, if it does.

    Raises:
        ExportSslError: The error that the worker met, of its own class.
    """
    if row["failure"]:
        raise named_error(row["kind"], row["failure"])


def here() -> str:
    """Return what messages call the machine that this process runs on."""
    return f"node {socket.gethostname()}"


def check_seen(images: Path) -> None:
    """Refuse a node that does not see the images: it would call every one unreadable.

    Raises:
        DataError: The images are not there.
    """
    if not images.exists():
        raise DataError(
            f"{here()} does not see {images}: expected images under the same path on all nodes; mount them there"
        )
