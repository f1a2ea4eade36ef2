"""What Ray prints while a job runs: one line of it is said, and the rest is left to Ray's logs.

Ray prints each worker that died, in colour and with advice to programmers, and of a node that died the stack of its C++
program. None of it ends a job: what does is an exception.
"""

import io
import re
import sys

# Escape sequences of terminals, ECMA-48, and the process that Ray names in front.
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_SOURCE = re.compile(r"^\([^)]*\)\s*")
_MOST = 160
# Ray says the same of workers that end because the job does.
_AFTER = "; unless another line follows, the job goes on; Ray's logs have the rest"


class RaysWords(io.TextIOBase):
    """Stands for stdout while Ray is connected: stdout is for results, and a thread of Ray's prints there."""

    def __init__(self) -> None:
        self._begun = ""
        self._said = False

    def write(self, text: str) -> int:
        """Take some text; the first line with words in it goes to stderr."""
        if not self._said:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                if (words := in_short(line)) and not self._said:
                    self._said = True
                    print(f"Ray says: {words}{_AFTER}", file=sys.stderr)
        return len(text)


def in_short(line: str) -> str:
    """Return a line of Ray's without colours and without the process that it names, cut where it is long."""
    words = _SOURCE.sub("", _COLOUR.sub("", line).strip()).rstrip(".")
    return words if len(words) <= _MOST else f"{words[:_MOST]}…"
