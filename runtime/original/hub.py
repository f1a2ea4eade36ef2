"""Weights from timm's hub: the local cache first, then the network, and a clear word when there is none.

`huggingface_hub` alone takes most of a minute of retries to find out that there is no network, and then
speaks of its cache. Here one short request asks for the file first, in a thread of its own, because a
name server that does not answer cannot be interrupted. HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_TOKEN and
HF_HUB_OFFLINE mean what they mean in `huggingface_hub`, which reads them when it is imported.
"""

import queue
import threading
from pathlib import Path
from urllib.parse import urlsplit

from runtime.errors import HubError

# Only safetensors: a pickle from the network is a program from the network.
_FILENAME = "model.safetensors"
# The whole answer is due within 10 s of the command's start, of which the imports take 2 to 3.
_REQUEST_TIMEOUT_S = 5.0
_PROBE_TIMEOUT_S = 6.0
_MESSAGE_LENGTH = 160


def fetch_hub_weights(name: str) -> Path:
    """Return the path of a model's `model.safetensors` in the local cache, downloading it once.

    Args:
        name: timm's name with its weight tag, such as `resnet18.fb_ssl_yfcc100m_ft_in1k`, or a repository,
            `ORG/NAME`, perhaps with `@REVISION`.

    Raises:
        HubError: The checkpoint is not cached, and the hub cannot be reached or does not have it.
    """
    return _fetch(name if "/" in name else f"timm/{name}", _FILENAME, what=f"the weights of {name}")


def fetch_hub_file(repository: str, filename: str) -> Path:
    """Return the path of another file of a repository in the local cache, downloading it once.

    Args:
        repository: `ORG/NAME`, perhaps with `@REVISION`.
        filename: Name of the file, such as `config.json`.

    Raises:
        HubError: The file is not cached, and the hub cannot be reached or does not have it.
    """
    return _fetch(repository, filename, what=f"{filename} of {repository}")


def _fetch(repository: str, filename: str, *, what: str) -> Path:
    endpoint = _endpoint(what)
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    name, _, revision = repository.partition("@")
    try:
        cached = try_to_load_from_cache(name, filename, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
        if constants.HF_HUB_OFFLINE:
            raise _hub_error(what, "HF_HUB_OFFLINE is set")
        refusal = _probe(name, filename, revision or None)
        if refusal is not None:
            raise _hub_error(what, f"{endpoint} does not give it ({refusal})")
        return Path(hf_hub_download(name, filename, revision=revision or None))
    except _hub_failures() as error:
        raise _hub_error(what, f"cannot be downloaded ({_one_line(error)})") from error


def _endpoint(what: str) -> str:
    """Return the hub's address, checked: `huggingface_hub` fails in its import on some that are none.

    Raises:
        HubError: HF_ENDPOINT is not an address.
    """
    try:
        from huggingface_hub.constants import ENDPOINT

        parts = urlsplit(ENDPOINT)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise _hub_error(what, f"HF_ENDPOINT is no address ({error})") from error
    if not usable:
        raise _hub_error(what, f"HF_ENDPOINT is {ENDPOINT!r}, no http or https address")
    return str(ENDPOINT)


def _probe(repository: str, filename: str, revision: str | None) -> str | None:
    """Return why the hub does not give the file, or None where it does; answers within 6 s."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            get_hf_file_metadata(hf_hub_url(repository, filename, revision=revision), timeout=_REQUEST_TIMEOUT_S)
        except _hub_failures() as error:
            answers.put(_one_line(error))
        else:
            answers.put(None)

    # A daemon: the process may end while a name server still does not answer.
    threading.Thread(target=ask, name="hub-probe", daemon=True).start()
    try:
        return answers.get(timeout=_PROBE_TIMEOUT_S)
    except queue.Empty:
        return f"no answer within {_PROBE_TIMEOUT_S:.0f} s"


def _hub_failures() -> tuple[type[Exception], ...]:
    """Return what `huggingface_hub` raises when it cannot give a file.

    Its own errors and the operating system's are OSError or ValueError; those of its HTTP library,
    requests before version 1 and httpx or its successor since, are not, so that they are taken from it.
    """
    from huggingface_hub.errors import HfHubHTTPError

    # HfHubHTTPError derives from the HTTP library's own base class, whichever that is.
    base = next(kind for kind in HfHubHTTPError.__mro__ if not kind.__module__.startswith("huggingface_hub"))
    return (OSError, ValueError, RuntimeError, base)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}"[:_MESSAGE_LENGTH] if lines else type(error).__name__


def _hub_error(what: str, reason: str) -> HubError:
    return HubError(
        f"{what}: not in the local cache, and {reason}: connect to the internet, pass a checkpoint with "
        "--weights FILE, or make untrained weights with --weights random"
    )
