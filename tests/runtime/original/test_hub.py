"""The hub is a stand-in on the loopback; every case has its process: huggingface_hub reads its settings once."""

import hashlib
import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tests.helpers.paths import ROOT

TAG = "resnet18.fb_ssl_yfcc100m_ft_in1k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = save({"fc.weight": torch.arange(6.0).reshape(2, 3)})
# The promise, beside what a process takes to start on this machine.
NO_NETWORK_LIMIT_S = 10.0

SCRIPT = f"""
from runtime.errors import HubError
from runtime.original.hub import fetch_hub_weights
try:
    print("PATH", fetch_hub_weights({TAG!r}))
except HubError as error:
    print("REFUSED", error)
"""


class HubServer(http.server.ThreadingHTTPServer):
    """Notes what it is asked, and may be without weights."""

    has_weights = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.requests: list[tuple[str, str]] = []


class Hub(http.server.BaseHTTPRequestHandler):
    """Speaks what huggingface_hub asks of a file: HEAD and GET of resolve/main."""

    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body):
        self.server.requests.append((self.command, self.path))
        found = re.fullmatch(rf"/timm/{re.escape(TAG)}/resolve/(main|{COMMIT})/model\.safetensors", self.path)
        if not found or not self.server.has_weights:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(WEIGHTS).hexdigest()}"')
        self.send_header("Content-Length", str(len(WEIGHTS)))
        self.end_headers()
        if with_body:
            self.wfile.write(WEIGHTS)

    def log_message(self, *_args):
        """Keep the test's output quiet."""


@pytest.fixture
def hub():
    server = HubServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(home: Path, **settings: str) -> str:
    """Run `fetch_hub_weights` in a process with these settings and an empty environment of Hugging Face."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_") and "proxy" not in name.lower()
    }
    environment = {**kept, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), **settings}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "Traceback" not in done.stderr
    return done.stdout.strip()


def address(server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def assert_refused(answer: str) -> None:
    assert answer.startswith("REFUSED")
    assert "\n" not in answer
    assert TAG in answer
    assert "--weights FILE" in answer
    assert "--weights random" in answer


def fill_cache(folder: Path) -> Path:
    """Lay out a file as huggingface_hub's documented cache does."""
    repository = folder / f"models--timm--{TAG}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    file = repository / "snapshots" / COMMIT / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(WEIGHTS)
    return file


@pytest.mark.parametrize("offline", ["0", "1"])
def test_cached_weights_need_no_network(tmp_path, offline):
    file = fill_cache(tmp_path / "hub")
    assert fetch(tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE=offline) == f"PATH {file}"


def test_the_cache_folder_of_the_environment_is_used(tmp_path):
    file = fill_cache(tmp_path / "elsewhere")
    answer = fetch(tmp_path, HF_HUB_CACHE=str(tmp_path / "elsewhere"), HF_HUB_OFFLINE="1")
    assert answer == f"PATH {file}"


def test_weights_are_downloaded_once_from_the_endpoint_of_the_environment(tmp_path, hub):
    answer = fetch(tmp_path, HF_ENDPOINT=address(hub))
    path = Path(answer.removeprefix("PATH "))
    assert path.read_bytes() == WEIGHTS
    assert path.is_relative_to(tmp_path)
    assert "GET" in {method for method, _ in hub.requests}
    hub.requests.clear()
    assert fetch(tmp_path, HF_ENDPOINT=address(hub)) == answer
    assert hub.requests == []


def test_only_safetensors_are_asked_for(tmp_path, hub):
    hub.has_weights = False
    assert_refused(fetch(tmp_path, HF_ENDPOINT=address(hub)))
    files = [Path(path) for _, path in hub.requests if path.startswith("/timm/")]
    assert {file.suffix for file in files} == {".safetensors"}


def test_offline_mode_asks_nothing_and_says_so(tmp_path, hub):
    answer = fetch(tmp_path, HF_ENDPOINT=address(hub), HF_HUB_OFFLINE="1")
    assert_refused(answer)
    assert "HF_HUB_OFFLINE" in answer
    assert hub.requests == []


@pytest.fixture(scope="module")
def start_up(tmp_path_factory) -> float:
    """Seconds that this machine needs to start the process and to refuse at once."""
    start = time.monotonic()
    assert_refused(fetch(tmp_path_factory.mktemp("offline"), HF_HUB_OFFLINE="1"))
    return time.monotonic() - start


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9", "http://no-such-host.invalid", "no-scheme", "http://[bad", "http://host:port"]
)
def test_no_network_is_said_in_one_line_within_ten_seconds(tmp_path, start_up, endpoint):
    start = time.monotonic()
    assert_refused(fetch(tmp_path, HF_ENDPOINT=endpoint))
    assert time.monotonic() - start - start_up < NO_NETWORK_LIMIT_S


def test_a_server_that_does_not_answer_is_given_up_within_ten_seconds(tmp_path, start_up):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        assert_refused(fetch(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        assert time.monotonic() - start - start_up < NO_NETWORK_LIMIT_S


def test_a_name_server_that_hangs_is_given_up_within_ten_seconds(tmp_path, start_up):
    # A resolver that sleeps, put in place before anything imports it.
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *args, **kwargs: time.sleep(60)\n"
    )
    start = time.monotonic()
    answer = fetch(tmp_path, HF_ENDPOINT="http://hub.invalid", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert_refused(answer)
    assert "no answer within 6 s" in answer
    assert time.monotonic() - start - start_up < NO_NETWORK_LIMIT_S
