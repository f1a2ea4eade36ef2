"""A connection to Ray: a cluster of this machine alone, or one that runs.

1. Without an address, and without one in the environment variable RAY_ADDRESS, Ray is started here, for one
   command, and ends with it; it sends no usage statistics then.
2. An address is tried before Ray is asked to connect: `ray.init` waits minutes for one that does not answer, and
   then ends the process. First by TCP, then, since something else may listen there, by a process of its own.
3. While it lasts, what is printed is Ray's, which tells of dead workers on stdout; see `runtime/on_ray/words.py`.
"""

import importlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from runtime.errors import EngineError, UsageError
from runtime.on_ray.words import RaysWords
from runtime.support.cpu import usable_cores

# An address that does not answer is reported within this time once Ray is imported, seconds.
PATIENCE_S = 12.0
_TCP_PATIENCE_S = 5.0
_LOCAL = "local"
# Found by Ray itself, on a machine that is a node.
_AUTO = "auto"
# Ray's client, from outside of a cluster. Ray Data fails in it: 'Worker' object has no attribute 'core_worker' (2.60).
_CLIENT = "ray://"
# Prints a line once Ray is imported, and exits with 0 where it can be reached under the address given.
_TRY = "import ray, sys; print(flush=True); ray.init(sys.argv[1], logging_level='ERROR', log_to_driver=False)"


@contextmanager
def connected(
    address: str | None, *, next_step: str = "finished parts are kept; run the same command again to resume"
) -> Iterator[Any]:
    """Yield the `ray` package, connected; the connection ends with the block.

    Args:
        address: `HOST:PORT` or `auto`; None for RAY_ADDRESS, or else for this machine alone.
        next_step: What to do where Ray gives up, for the message.

    Raises:
        UsageError: The text is no address.
        EngineError: Nothing answers there, or Ray cannot be started.
        ModuleNotFoundError: Ray is not installed.
    """
    # Its absence shows before an address is tried, and it sets up its logging as it is imported.
    importlib.import_module("ray.data")
    chosen = _chosen(address)
    if chosen != _LOCAL:
        check_address(chosen)
    else:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray writes of its actors' arguments as of an error, with a line in its C++ log, on stderr.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with redirect_stdout(RaysWords()), _connection(chosen, next_step) as connection:
        yield connection


@contextmanager
def _connection(chosen: str, next_step: str) -> Iterator[Any]:
    """Yield the `ray` package, connected.

    Raises:
        EngineError: Ray cannot be connected to, or gave up.
    """
    import ray

    local = {"num_cpus": usable_cores(), "include_dashboard": False} if chosen == _LOCAL else {}
    try:
        with _cpp_log_silenced():
            ray.init(address=chosen, logging_level="ERROR", log_to_driver=False, **local)
    except (RuntimeError, ConnectionError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise EngineError(f"Ray cannot be used at {chosen} ({reason}): check `ray status` there") from error
    try:
        # Else it says on stderr what it plans, and that its own progress bar is off.
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield ray
    except ray.exceptions.RayError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise EngineError(f"Ray gave up ({reason}): {next_step}") from error
    finally:
        ray.shutdown()


@contextmanager
def _cpp_log_silenced() -> Iterator[None]:
    """Keep away from stderr that Ray's C++ read RAY_BACKEND_LOG_LEVEL; what goes wrong is an exception."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def is_local(address: str | None) -> bool:
    """Return whether an address, or none, means a cluster of this machine alone; rule 1."""
    return _chosen(address) == _LOCAL


def _chosen(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or _LOCAL


def check_address(address: str) -> None:
    """Refuse an address where no Ray answers.

    Raises:
        UsageError: The text is no address.
        EngineError: Nothing answers within `PATIENCE_S`, or something else than Ray.
    """
    began = time.monotonic()
    if address != _AUTO:
        _try_tcp(address)
    try:
        code, said = _try_ray(address, PATIENCE_S - (time.monotonic() - began))
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"Ray at {address} did not answer within {PATIENCE_S:.0f} s: expected a running cluster of Ray, with this "
            "machine as a node; start one with `ray start --head`, or set RAY_AUTH_MODE=token if it needs a token"
        ) from error
    if code:
        reason = (said.strip().splitlines() or ["no reason given"])[-1]
        raise EngineError(f"Ray cannot be used at {address} ({reason}): check `ray status` there")


def _try_ray(address: str, patience_s: float) -> tuple[int, str]:
    """Connect to Ray in a process of its own, and return its exit code and what it said.

    Args:
        address: The address.
        patience_s: How long it may take, without the time that a busy machine needs to import Ray; seconds.

    Raises:
        subprocess.TimeoutExpired: Ray takes longer.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _TRY, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Else a folder `ray` of the user's would be imported.
        cwd=os.sep,
    ) as trying:
        try:
            assert trying.stdout is not None, "a pipe was asked for"
            trying.stdout.readline()
            _, said = trying.communicate(timeout=patience_s)
        except BaseException:
            # Ctrl-C too.
            trying.kill()
            raise
        return trying.returncode, said


def _try_tcp(address: str) -> None:
    """Open and close a connection.

    Raises:
        UsageError: The text is no address.
        EngineError: Nothing listens there.
    """
    if address.startswith(_CLIENT):
        raise UsageError(
            f"--ray-address {address}: Ray's client cannot run a job of Ray Data; run this on a node of the cluster "
            "with `--ray-address auto`, or from outside with `ray job submit -- run-ssl ...`"
        )
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"--ray-address {address}: expected HOST:PORT, such as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TCP_PATIENCE_S).close()
    except OSError as error:
        raise EngineError(
            f"nothing answers at {address} ({error.strerror or error}): expected a running cluster of Ray; start one "
            "with `ray start --head`, or leave the address out to use this machine alone"
        ) from error
