"""What is said of a machine, from files of /proc and /sys written by hand."""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

import runtime.bench.machine.describe
from runtime.bench.machine import gpu_state
from runtime.bench.machine.describe import describe_gpus, describe_machine, find_commit, same_hardware
from runtime.bench.machine.gpu_state import (
    GpuState,
    describe_throttling,
    format_uuid,
    parse_gpu_states,
    read_gpu_states,
)
from runtime.bundle.results.bench_json import Gpu, Machine
from runtime.errors import EngineError
from runtime.support.cpu import cpu_flags, fast_instructions, read_cpuinfo, usable_cores
from tests.helpers.paths import ROOT
from tests.helpers.plans import gpu
from tests.helpers.tools import require_tool
from tests.tensorrt_bindings.standin import SITE

LAPTOP = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 140
model name\t: 11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz
flags\t\t: fpu sse4_2 avx2 avx512f avx512_vnni

processor\t: 1
model name\t: another
"""
GUEST = """processor\t: 0
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
flags\t\t: fpu hypervisor avx2 avx_vnni
"""
GRAVITON = """processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd asimddp sve i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""
UUID = "GPU-8f6c1b52-0a1d-4e0b-9c33-1f2e3d4c5b6a"


def put(root: Path, **files: str) -> Path:
    """Write files below a root; in their names `__` stands for `/`."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def machine(**changes: Any) -> Machine:
    fields: dict[str, Any] = {
        "cpu": "Xeon",
        "instructions": ("avx2", "avx512_vnni"),
        "cores": 8,
        "governor": "performance",
        "memory_gb": 32.0,
        "virtual": "",
        "platform": "linux-x86_64",
        "gpus": (),
        "driver": "",
        "python": "3.11.7",
        "versions": {},
        "commit": "",
    }
    return Machine(**(fields | changes))


def named_gpu(name: str) -> Gpu:
    return Gpu(name=name, compute_capability="8.0", memory_mb=85899)


def test_laptop_is_described_from_its_files(tmp_path: Path) -> None:
    root = put(
        tmp_path,
        proc__cpuinfo=LAPTOP,
        proc__meminfo="MemTotal:       16000000 kB\nMemFree:  1 kB\n",
        sys__devices__system__cpu__cpu0__cpufreq__scaling_governor="powersave\n",
        sys__class__dmi__id__sys_vendor="Dell Inc.\n",
        sys__class__dmi__id__product_name="XPS 13\n",
    )
    found = describe_machine(("numpy", "no-such-distribution"), root)
    assert found.cpu == "11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz"
    assert found.instructions == ("avx2", "avx512f", "avx512_vnni")
    assert (found.governor, found.virtual) == ("powersave", "")
    # 16,000,000 KiB are 16.384e9 bytes.
    assert found.memory_gb == 16.4
    assert set(found.versions) == {"export-ssl", "numpy"}


def test_name_that_a_hypervisor_shortened_gets_family_and_model(tmp_path: Path) -> None:
    found = describe_machine(root=put(tmp_path, proc__cpuinfo=GUEST))
    assert found.cpu == "AMD EPYC (family 26, model 2)"
    assert found.virtual == "unknown hypervisor"


@pytest.mark.parametrize(
    ("cpuinfo", "vendor", "product", "expected"),
    [
        (GUEST, "Amazon EC2", "m7i.large", "Amazon EC2 m7i.large"),
        (GUEST, "QEMU", "Standard PC (Q35 + ICH9, 2009)", "QEMU Standard PC (Q35 + ICH9, 2009)"),
        # Amazon's bare metal bears its name too, and has no hypervisor flag.
        (LAPTOP, "Amazon EC2", "m7i.metal-24xl", ""),
        (GRAVITON, "Amazon EC2", "m7g.large", "Amazon EC2 m7g.large"),
        (GRAVITON, "Amazon EC2", "m7g.metal", ""),
        (GRAVITON, "QEMU", "KVM Virtual Machine", "QEMU KVM Virtual Machine"),
        (GRAVITON, "Ampere", "Mt. Jade", ""),
    ],
)
def test_hypervisor_is_named_from_the_firmware(
    tmp_path: Path, cpuinfo: str, vendor: str, product: str, expected: str
) -> None:
    root = put(
        tmp_path,
        proc__cpuinfo=cpuinfo,
        sys__class__dmi__id__sys_vendor=vendor,
        sys__class__dmi__id__product_name=product,
    )
    assert describe_machine(root=root).virtual == expected


def test_xen_without_firmware_tables_is_named_by_the_kernel(tmp_path: Path) -> None:
    root = put(tmp_path, proc__cpuinfo=GUEST, sys__hypervisor__type="xen\n")
    assert describe_machine(root=root).virtual == "xen"


def test_arm_server_is_named_by_implementer_and_part(tmp_path: Path) -> None:
    found = describe_machine(root=put(tmp_path, proc__cpuinfo=GRAVITON))
    assert found.cpu == "implementer 0x41 part 0xd40"
    assert found.instructions == ("asimddp", "i8mm", "sve")


def test_arm_board_is_named_by_its_device_tree(tmp_path: Path) -> None:
    root = put(tmp_path, proc__cpuinfo=GRAVITON, sys__firmware__devicetree__base__model="NVIDIA Jetson AGX Orin\0")
    assert describe_machine(root=root).cpu == "NVIDIA Jetson AGX Orin (implementer 0x41 part 0xd40)"


def test_system_without_proc_is_named_by_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "arm")
    found = describe_machine(root=tmp_path)
    assert (found.cpu, found.instructions, found.governor, found.virtual) == ("arm", (), "", "")
    assert found.memory_gb > 0
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert describe_machine(root=tmp_path).cpu == "riscv64"


def test_this_machine_is_described_whole_and_survives_json() -> None:
    found = describe_machine(("numpy",))
    assert found.cpu
    assert found.cores >= 1
    assert Machine.model_validate_json(found.model_dump_json()) == found


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: {1, 5, 7}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert usable_cores() == 1


def test_features_are_those_of_the_first_core(tmp_path: Path) -> None:
    text = "flags\t: avx2\n\nflags\t: avx2 amx_int8\nno colon here\n"
    flags = cpu_flags(read_cpuinfo(put(tmp_path, proc__cpuinfo=text)))
    assert flags == {"avx2"}
    assert fast_instructions(frozenset({"amx_bf16", "sse2", "avx2"})) == ("avx2", "amx_bf16")


def test_equal_machines_are_comparable_whatever_their_software() -> None:
    assert same_hardware(machine(), machine(python="3.13.0", governor="powersave", commit="abc", memory_gb=64.0)) == ""
    assert same_hardware(machine(), machine(instructions=("avx512_vnni", "avx2"))) == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cpu": "EPYC"}, "processor Xeon against EPYC"),
        ({"cores": 4}, "8 usable cores against 4"),
        ({"instructions": ("avx2",)}, "instruction sets avx2, avx512_vnni against avx2"),
        ({"gpus": (named_gpu("Tesla T4"),)}, "GPU none against Tesla T4"),
        ({"cpu": "EPYC", "cores": 4}, "processor Xeon against EPYC"),
    ],
)
def test_what_differs_between_machines_is_named(changes: dict[str, Any], expected: str) -> None:
    assert same_hardware(machine(), machine(**changes)) == expected


def test_gpu_that_is_another_or_one_more_differs() -> None:
    one, two = machine(gpus=(named_gpu("A"),)), machine(gpus=(named_gpu("A"), named_gpu("A")))
    assert same_hardware(one, one) == ""
    assert same_hardware(one, two) == "GPU A against A, A"


def test_states_of_gpus_are_read_from_nvidia_smis_lines() -> None:
    text = f"{UUID}, 1275, 1410, 41, 0x0000000000000000\nGPU-b, 210, 1980, 78, 0x0000000000000024\n"
    assert parse_gpu_states(text) == {
        UUID: GpuState(1275, 1410, 41, ""),
        "GPU-b": GpuState(210, 1980, 78, "power cap, thermal slowdown by the driver"),
    }


def test_values_that_a_gpu_does_not_have_are_none() -> None:
    text = f"{UUID}, [N/A], [Not Supported], 50, [Unknown Error]\n\nNo devices were found\n"
    assert parse_gpu_states(text) == {UUID: GpuState(None, None, 50, "")}


def test_idle_and_clocks_that_someone_set_are_no_throttling() -> None:
    assert describe_throttling(0x1 | 0x2) == ""
    assert describe_throttling(0x8 | 0x40 | 0x80) == (
        "hardware slowdown, thermal slowdown by the hardware, power brake"
    )


def test_uuid_is_written_as_nvidia_smi_does() -> None:
    assert format_uuid(bytes.fromhex("8f6c1b520a1d4e0b9c331f2e3d4c5b6a")) == UUID


def test_uuid_comes_from_the_gpus_properties() -> None:
    script = "from runtime.bench.machine.gpu_state import gpu_uuid; print(gpu_uuid(0))"
    paths = os.pathsep.join((str(SITE), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"GPU-{uuid.UUID(bytes=b'stand-in-gpu-000')}"


def program(folder: Path, script: str) -> str:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_old_drivers_name_of_the_mask_is_asked_for_after_the_new_one(tmp_path: Path) -> None:
    script = f"""case "$1" in
*clocks_event_reasons*) echo 'Field "clocks_event_reasons.active" is not a valid field to query.'; exit 2;;
--query-gpu=uuid,clocks.sm,clocks.max.sm,temperature.gpu,clocks_throttle_reasons.active)
  echo '{UUID}, 1, 2, 3, 0x4';;
*) exit 1;;
esac"""
    assert read_gpu_states(program(tmp_path, script)) == {UUID: GpuState(1, 2, 3, "power cap")}


def test_nvidia_smi_that_is_absent_fails_or_hangs_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_gpu_states(str(tmp_path / "absent")) == {}
    assert read_gpu_states(program(tmp_path, "exit 9")) == {}
    monkeypatch.setattr(gpu_state, "_TIMEOUT_S", 0.2)
    assert read_gpu_states(program(tmp_path, "exec sleep 20")) == {}


def test_state_is_the_one_of_the_same_gpu_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {"GPU-first": GpuState(300, 1410, 30, ""), "GPU-second": GpuState(1410, 1410, 60, "power cap")}
    monkeypatch.setattr(runtime.bench.machine.describe, "read_gpu_states", lambda: states)
    monkeypatch.setattr(runtime.bench.machine.describe, "gpu_uuid", lambda _index: "GPU-second")
    (found,) = describe_gpus((gpu(),))
    assert found == Gpu(
        name="NVIDIA A100 80GB PCIe",
        compute_capability="8.0",
        memory_mb=85899,  # 80 GiB
        clock_mhz=1410,
        max_clock_mhz=1410,
        temperature_c=60,
        throttling="power cap",
    )


def test_gpu_whose_state_is_unknown_is_described_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_index: int) -> str:
        raise EngineError("CUDA error 999, unknown error")

    monkeypatch.setattr(runtime.bench.machine.describe, "read_gpu_states", lambda: {"GPU-other": GpuState(1, 2, 3, "")})
    monkeypatch.setattr(runtime.bench.machine.describe, "gpu_uuid", lambda _index: "GPU-mine")
    assert describe_gpus((gpu(),))[0].clock_mhz is None
    monkeypatch.setattr(runtime.bench.machine.describe, "gpu_uuid", fail)
    assert describe_gpus((gpu(),))[0].clock_mhz is None


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    program = require_tool("git", package="git")
    done = subprocess.run([program, *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("1", encoding="utf-8")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", "first")
    return tmp_path


def test_commit_has_a_plus_where_tracked_files_differ(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")[:12]
    (checkout / "untracked").touch()
    assert find_commit(checkout) == commit
    (checkout / "file").write_text("2", encoding="utf-8")
    assert find_commit(checkout) == f"{commit}+"


def test_commit_is_of_this_checkout_even_in_a_hook_of_another(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = find_commit(checkout)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    assert find_commit(checkout) == commit


def test_package_installed_below_another_projects_checkout_has_no_commit(checkout: Path) -> None:
    site = checkout / "venv"
    site.mkdir()
    assert find_commit(site) == ""


def test_checkout_that_git_cannot_read_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").write_text("nonsense", encoding="utf-8")
    assert find_commit(tmp_path) == ""
    monkeypatch.setenv("PATH", "")
    assert find_commit(tmp_path) == ""
