"""Connections to Ray that fail do so soon and in one line; a bundle arrives on a node whole, once, or not at all."""

import errno
import hashlib
import io
import multiprocessing
import os
import shutil
import socket
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from runtime.bundle.bundle import open_bundle
from runtime.commands.run_ssl import app
from runtime.errors import BundleError, EngineError
from runtime.on_ray import connect
from runtime.on_ray.connect import connected, is_local
from runtime.on_ray.ship_bundle import PackedBundle, pack_bundle, unpack_bundle
from runtime.on_ray.ship_file import pack_file, unpack_file
from runtime.on_ray.words import in_short
from runtime.support.files import hash_file
from tests.helpers.bundles import write_hand_made
from tests.helpers.command_lines import refused
from tests.helpers.image_folders import write_picture
from tests.helpers.ray_warnings import RAYS_WARNINGS

# The promise for an address that does not answer, and what Python takes on a busy machine to import Ray twice.
PROMISED_S = 12.0 + 48.0
pytestmark = RAYS_WARNINGS


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_hand_made(tmp_path / "bundle")


@pytest.fixture
def listener() -> Iterator[str]:
    """The address of what takes connections, as the kernel does for it, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refused_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def embed(bundle: Path, *arguments: str):
    write_picture(bundle.with_name("images") / "a.png")
    paths = (bundle, bundle.with_name("images"), "-o", bundle.with_name("out"))
    return CliRunner().invoke(app, ["embed", *map(str, paths), *arguments])


def test_a_port_where_nobody_listens_is_one_line(bundle, refused_port):
    refused(embed(bundle, "--ray-address", refused_port), f"nothing answers at {refused_port}", "`ray start --head`")
    assert not bundle.with_name("out").exists()


@pytest.mark.slow
def test_what_listens_and_never_answers_is_one_line_within_the_time_promised(bundle, listener):
    began = time.monotonic()
    refused(embed(bundle, "--ray-address", listener), f"Ray at {listener} did not answer within 12 s: expected a")
    assert time.monotonic() - began < PROMISED_S


@pytest.mark.parametrize(
    "address", ["nonsense", "10.0.0.1", "10.0.0.1:", ":6379", "a:0", "a:65536", "a:\u0666", "http://a"]
)
def test_what_is_no_address_is_a_usage_error(bundle, address):
    refused(embed(bundle, "--ray-address", address), f"--ray-address {address}: expected HOST:PORT", code=2)


def test_rays_client_is_refused_with_what_to_do_instead(bundle):
    refused(embed(bundle, "--ray-address", "ray://10.0.0.1:10001"), "`--ray-address auto`", "ray job submit", code=2)


def test_a_name_that_no_machine_has_is_one_line(bundle):
    refused(embed(bundle, "--ray-address", "no-such-machine.invalid:6379"), "nothing answers at no-such-machine")


def test_the_environments_address_is_taken_where_none_is_given(bundle, refused_port, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", refused_port)
    refused(embed(bundle, "--ray"), f"nothing answers at {refused_port}")
    assert not is_local(None)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert is_local(None)
    monkeypatch.delenv("RAY_ADDRESS")
    assert is_local(None)
    assert not is_local("auto")


def test_without_ray_the_line_names_the_extra(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    refused(embed(bundle, "--ray"), "ray is not installed: pip install 'export-ssl[scale]'")


def test_options_of_ray_without_ray_are_usage_errors(bundle):
    for option in (("--ray-workers", "2"), ("--ray-gpus", "0.5")):
        refused(embed(bundle, *option), f"{option[0]} has no effect here, it needs --ray", code=2)


def test_of_what_ray_prints_one_line_is_said_on_stderr(monkeypatch, capsys):
    import ray

    monkeypatch.setattr(ray, "init", lambda **_options: print())
    monkeypatch.setattr(ray, "shutdown", lambda: print("(raylet) repeated"))
    with connected("local") as found:
        # As Ray 2.60 does, from a thread of its own.
        died = "\x1b[33m(raylet)\x1b[0m A worker died.\x1b[32m [repeated 2x across cluster]\x1b[0m\n    main\n"
        thread = threading.Thread(target=print, args=(died,))
        thread.start()
        thread.join()
        print("(raylet) another")
    assert found is ray
    print("a result")
    printed = capsys.readouterr()
    assert printed.out == "a result\n"
    after = "unless another line follows, the job goes on; Ray's logs have the rest"
    assert printed.err == f"Ray says: A worker died. [repeated 2x across cluster]; {after}\n"


def test_a_long_line_of_rays_is_cut():
    assert in_short(f"(pid=7, ip=10.0.0.1) {'word ' * 100}") == f"{'word ' * 32}…"
    assert in_short("\x1b[33m(raylet)\x1b[0m") == ""


def test_rays_failures_keep_their_reason_in_one_line(monkeypatch):
    import ray

    def refuse(**_options: object) -> None:
        raise ConnectionError("no\n node")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(EngineError, match=r"^Ray cannot be used at local \(no node\): check"), connected("local"):
        pass
    monkeypatch.setattr(ray, "init", lambda **_options: None)
    with (
        pytest.raises(EngineError, match=r"^Ray gave up \(KeyError: 'x'\): finished parts are kept"),
        connected("local"),
    ):
        raise ray.exceptions.RayError("Traceback\n  line\nKeyError: 'x'")


def test_time_that_names_took_is_time_less_for_ray(monkeypatch, listener):
    monkeypatch.setattr(connect, "PATIENCE_S", 0.0)
    with pytest.raises(EngineError, match=r"did not answer within 0 s"):
        connect.check_address(listener)


def test_the_time_that_a_busy_machine_takes_to_import_ray_is_not_counted(monkeypatch):
    monkeypatch.setattr(connect, "PATIENCE_S", 2.0)
    monkeypatch.setattr(connect, "_TRY", "import time; time.sleep(4); print(flush=True)")
    connect.check_address("auto")
    monkeypatch.setattr(connect, "_TRY", "print(flush=True); import time; time.sleep(40)")
    with pytest.raises(EngineError, match=r"^Ray at auto did not answer within 2 s"):
        connect.check_address("auto")


def test_the_same_bundle_is_the_same_bytes_and_another_is_not(tmp_path, bundle):
    packed, copied = pack_bundle(open_bundle(bundle)), tmp_path / "copy"
    shutil.copytree(bundle, copied)
    for file in copied.rglob("*"):
        os.utime(file, (1, 1))
    assert pack_bundle(open_bundle(copied)).contents.tobytes() == packed.contents.tobytes()
    other = write_hand_made(tmp_path / "other", opset=19)
    assert pack_bundle(open_bundle(other)).sha256 != packed.sha256


def test_what_is_unpacked_is_what_the_bundle_holds_and_its_plan(tmp_path, bundle):
    for name in ("model.plan", "model.plan.json", "model.plan.layers.json"):
        (bundle / name).write_text(f"this is {name}")
    (bundle / "notes.txt").write_text("in no manifest")
    (bundle / "timing.cache").write_text("a machine's own")
    unpacked = unpack_bundle(pack_bundle(open_bundle(bundle)), cache=private(tmp_path))
    found = {str(file.relative_to(unpacked.path)): hash_file(file) for file in files_of(unpacked.path)}
    theirs = {str(file.relative_to(bundle)): hash_file(file) for file in files_of(bundle)}
    assert found == {name: one for name, one in theirs.items() if name not in ("notes.txt", "timing.cache")}
    assert len(found) >= 7


def private(folder: Path) -> Path:
    """Return a folder that only this user may enter."""
    (folder / "cache").mkdir(mode=0o700, exist_ok=True)
    return folder / "cache"


def files_of(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def test_a_second_process_uses_what_the_first_unpacked(tmp_path, bundle):
    packed = pack_bundle(open_bundle(bundle))
    first = unpack_bundle(packed, cache=private(tmp_path)).path
    before = {file: file.stat().st_mtime_ns for file in files_of(first)}
    assert unpack_bundle(packed, cache=private(tmp_path)).path == first
    assert {file: file.stat().st_mtime_ns for file in files_of(first)} == before


def test_contents_that_changed_on_the_way_are_refused(tmp_path, bundle):
    packed = pack_bundle(open_bundle(bundle))
    changed = packed.contents.copy()
    changed[len(changed) // 2] ^= 1
    with pytest.raises(BundleError, match=r"^the bundle arrived with sha256 [0-9a-f]{12}…, expected"):
        unpack_bundle(replace(packed, contents=changed), cache=private(tmp_path))
    assert files_of(private(tmp_path)) == []


@pytest.mark.parametrize("name", ["model.onnx", "bundle.json", "golden"])
def test_an_unpacked_file_that_was_changed_or_removed_is_refused(tmp_path, bundle, name):
    packed = pack_bundle(open_bundle(bundle))
    folder = unpack_bundle(packed, cache=private(tmp_path)).path
    if name == "golden":
        shutil.rmtree(folder / name)
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"x")
    wanted = rf"{name}.* has changed since it was unpacked: remove {folder}, and it will be unpacked again"
    with pytest.raises(BundleError, match=wanted):
        unpack_bundle(packed, cache=private(tmp_path))


@pytest.mark.parametrize("kind", ["../out.txt", "/root/out.txt", "a/../../out.txt", "link"])
def test_a_member_that_leads_out_is_refused(tmp_path, kind):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo(kind)
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    contents = np.frombuffer(stream.getvalue(), np.uint8)
    packed = PackedBundle(contents, hashlib.sha256(contents.tobytes()).hexdigest())
    with pytest.raises(BundleError, match=rf"^a packed bundle holds {kind}: expected plain files inside it$"):
        unpack_bundle(packed, cache=private(tmp_path))
    assert not list(tmp_path.rglob("out.txt"))


def unpack_when_told(packed: PackedBundle, cache: Path, go: Event) -> None:
    go.wait()
    unpack_bundle(packed, cache=cache)


def test_processes_that_unpack_at_once_get_one_whole_bundle(tmp_path, bundle):
    packed, cache = pack_bundle(open_bundle(bundle)), private(tmp_path)
    spawned = multiprocessing.get_context("spawn")
    go = spawned.Event()
    processes = [spawned.Process(target=unpack_when_told, args=(packed, cache, go)) for _ in range(3)]
    for process in processes:
        process.start()
    go.set()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(file.name for file in cache.iterdir()) == [packed.sha256, f"{packed.sha256}.lock"]


def test_what_a_killed_process_left_half_unpacked_is_done_anew(tmp_path, bundle):
    packed = pack_bundle(open_bundle(bundle))
    half = private(tmp_path) / f"{packed.sha256}.partial"
    half.mkdir()
    (half / "junk").touch()
    unpacked = unpack_bundle(packed, cache=private(tmp_path)).path
    assert not half.exists()
    assert not (unpacked / "junk").exists()


def test_a_folder_that_others_may_enter_is_not_used(tmp_path, bundle, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    own = tmp_path / f"export-ssl-{os.getuid()}"
    packed = pack_bundle(open_bundle(bundle))
    own.mkdir()
    own.chmod(0o750)
    with pytest.raises(BundleError, match=rf"^node \S+: {own} is not a folder that only you can use: remove it$"):
        unpack_bundle(packed)
    own.rmdir()
    own.symlink_to(private(tmp_path))
    with pytest.raises(BundleError, match=rf"^node \S+: {own} is not a folder that only you can use: remove it$"):
        unpack_bundle(packed)
    own.unlink()
    assert unpack_bundle(packed).path.parent == own
    assert own.stat().st_mode & 0o777 == 0o700


def test_a_node_without_room_for_temporary_files_is_one_line(tmp_path, bundle, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "absent"))
    wanted = r"^node \S+ cannot unpack a bundle into .* \(No such file or directory\): free some space there"
    with pytest.raises(BundleError, match=wanted):
        unpack_bundle(pack_bundle(open_bundle(bundle)))


def full_after(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    """Let the disk be full once so many files were written: the next is cut off."""
    written: list[Path] = []
    really = Path.write_bytes

    def write_bytes(path: Path, contents: bytes) -> int:
        if len(written) == files:
            really(path, bytes(contents)[: len(contents) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        return really(path, contents)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


def test_a_disk_that_fills_while_a_bundle_is_unpacked_keeps_no_half_and_the_node_is_named(
    tmp_path, bundle, monkeypatch
):
    full_after(monkeypatch, files=2)
    packed, cache = pack_bundle(open_bundle(bundle)), private(tmp_path)
    wanted = r"^node \S+ cannot unpack a bundle into .* \(No space left on device\): free some space there"
    with pytest.raises(BundleError, match=wanted):
        unpack_bundle(packed, cache=cache)
    assert [file.name for file in cache.iterdir()] == [f"{packed.sha256}.lock"]
    monkeypatch.undo()
    assert unpack_bundle(packed, cache=cache).path.parent == cache


def test_a_disk_that_fills_while_a_checkpoint_is_written_keeps_no_half_and_the_node_is_named(tmp_path, monkeypatch):
    (tmp_path / "weights.pth").write_bytes(b"weights")
    packed, cache = pack_file(tmp_path / "weights.pth"), private(tmp_path)
    full_after(monkeypatch, files=0)
    with pytest.raises(BundleError, match=r"^node \S+ cannot write .*/weights\.pth \(No space left on device\): free"):
        unpack_file(packed, cache=cache)
    assert [file.name for file in files_of(cache)] == [f"{packed.sha256}.lock"]
    monkeypatch.undo()
    assert unpack_file(packed, cache=cache).read_bytes() == b"weights"
