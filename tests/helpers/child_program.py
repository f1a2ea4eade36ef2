"""A process for the tests of `runtime.support.child_process`: it obeys lines, of which the first word says how."""

import os
import sys
import time
from pathlib import Path


def obey(word: str, rest: str) -> None:
    if word == "echo":
        print(rest, flush=True)
    elif word == "where":
        print(Path.cwd(), flush=True)
    elif word == "half":
        sys.stdout.write("half a li")
        sys.stdout.flush()
        os._exit(3)
    elif word == "complain":
        sys.stderr.write("x" * int(rest) + "\nsecond  last\nthe last\n")
        sys.stderr.flush()
        print("complained", flush=True)
    elif word == "die":
        os._exit(int(rest))
    elif word == "hang":
        print("hanging", flush=True)
        time.sleep(600)


def main() -> None:
    for line in sys.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        obey(word, rest)


if __name__ == "__main__":
    main()
