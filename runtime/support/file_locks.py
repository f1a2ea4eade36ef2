"""What only POSIX systems have: file locks that go with their process, and files with an owner."""

import sys
from importlib.util import find_spec

from runtime.errors import BundleError


def require_posix(purpose: str) -> None:
    """Refuse a system without `fcntl`, such as Windows; behind this call a function may import it.

    Args:
        purpose: What needs it, as the subject of the message.

    Raises:
        BundleError: There is none.
    """
    if find_spec("fcntl") is None:
        raise BundleError(
            f"{purpose} needs POSIX file locks, and Python has none on {sys.platform} (no fcntl): "
            "run it on Linux, on macOS or in WSL"
        )
