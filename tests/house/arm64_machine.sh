#!/usr/bin/env bash
# The thin runtime and the C library on ARM64: a Debian 12 arm64 under QEMU's user emulation, and a list of checks in it.
#
#   bash tests/house/arm64_machine.sh [--root FOLDER] [--mirror URL] [--cpu NAME] [--bundles FOLDER]
#                                      [--only CHECK[,CHECK]]
#
# --root    where the Debian is made once and kept (default: ~/.cache/export-ssl/arm64, or below XDG_CACHE_HOME)
# --mirror  Debian's mirror (default: this machine's own, from its apt sources)
# --cpu     QEMU's name of the processor (default: cortex-a76). No `max`: with its SVE OpenVINO computes garbage in QEMU
# --bundles folder of bundles to check (default: build/arm64-bundles, exported there from random weights if it is not)
# --only    these checks alone, by their names in arm64_checks.sh
#
# `make test-arm64` runs it, outside `make test`: it needs root, Debian's qemu-user-static, binfmt-support and
# debootstrap, and the network the first time. With g++-aarch64-linux-gnu the C library is cross-compiled too. The bundles are exported here, by this checkout's environment (`make env`
# first). QEMU computes as the processor does, and times nothing: no speed is to be read from it.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
packages="python3 python3-venv python3-pip ca-certificates g++ cmake ninja-build libjpeg-dev libpng-dev nlohmann-json3-dev"
root=${XDG_CACHE_HOME:-$HOME/.cache}/export-ssl/arm64 mirror="" cpu=cortex-a76 bundles=$here/build/arm64-bundles only=""

# shellcheck source=tests/house/bare_debian.sh
. "$here/tests/house/bare_debian.sh"

while [ $# -gt 0 ]; do
  case $1 in
    --root) root=${2:?--root needs a folder}; shift 2 ;;
    --mirror) mirror=${2:?--mirror needs a URL}; shift 2 ;;
    --cpu) cpu=${2:?--cpu needs a name}; shift 2 ;;
    --bundles) bundles=${2:?--bundles needs a folder}; shift 2 ;;
    --only) only=${2:?--only needs names of checks}; shift 2 ;;
    *) fail "unknown argument $1: expected --root, --mirror, --cpu, --bundles or --only" 2 ;;
  esac
done
[ "$(id -u)" = 0 ] || fail "make test-arm64 needs root: debootstrap and chroot are root's"
command -v debootstrap >/dev/null || fail "debootstrap not found: apt-get install debootstrap"
command -v qemu-aarch64-static >/dev/null || fail "qemu-aarch64-static not found: apt-get install qemu-user-static binfmt-support"

# Lets the kernel start ARM programs with QEMU, also in the Debian, where QEMU's file is not.
register_qemu() {
  local kernel=/proc/sys/fs/binfmt_misc
  [ -e $kernel/status ] || mount -t binfmt_misc binfmt_misc $kernel
  [ -e $kernel/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
  grep -q '^flags:.*F' $kernel/qemu-aarch64 || fail "$kernel/qemu-aarch64 has no flag F: QEMU would not be found in $root"
}

# What a Cortex-A76 says of itself: a program in QEMU reads the x86's file otherwise, and onnxruntime dies at import.
write_cpuinfo() {
  local processor
  for processor in $(seq 0 $(($(nproc) - 1))); do
    printf 'processor\t: %s\nBogoMIPS\t: 50.00\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\n' "$processor" \
      "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
    printf 'CPU variant\t: 0x1\nCPU part\t: 0xd0b\nCPU revision\t: 0\n\n'
  done >"$root/cpuinfo"
  mount --bind "$root/cpuinfo" "$root/proc/cpuinfo"
}

# Runs a shell command in the Debian, in the checkout's copy.
inside() {
  local settings
  mapfile -t settings < <(inner_settings)
  chroot "$root" /usr/bin/env -i "${settings[@]}" QEMU_CPU="$cpu" /bin/bash -c "cd /export-ssl && $1"
}

copy_checkout() {
  rm -rf --one-file-system "$root/export-ssl"
  git clone --quiet --no-local "$here" "$root/export-ssl"
}

install_runtime() {
  # The newest packages the first time; then this checkout alone, and what it may need beside them.
  inside "[ -x /venv/bin/python ] || { python3 -m venv /venv && /venv/bin/pip install --quiet --upgrade pip; }
    /venv/bin/pip install --quiet --force-reinstall --no-deps /export-ssl &&
    /venv/bin/pip install --quiet '/export-ssl[cpu,embed]'"
}

# The C library, the example `classify` and the program that tries onnxruntime, by the cross-compiler for the Debian.
cross_compile() {
  local source=$here/runtime/cpp work
  local options=(-DCMAKE_TOOLCHAIN_FILE="$source/cmake/aarch64-linux-gnu.cmake" -DRNE_ARM64_ROOT="$root")
  work=$(mktemp -d)
  rm -rf --one-file-system "$root/cpp-cross"
  cmake -S "$source" -B "$work/library" "${options[@]}" -DRNE_WARNINGS_AS_ERRORS=ON \
    -DOpenVINO_DIR="$(echo "$root"/venv/lib/python3.*/site-packages/openvino/cmake)" \
    -DRNE_ONNXRUNTIME=ON -DOnnxRuntime_INCLUDE_DIR="$source/tests/standin" &&
    cmake --build "$work/library" && cmake --install "$work/library" --prefix "$root/cpp-cross" &&
    cmake -S "$source/examples/classify" -B "$work/classify" "${options[@]}" -DCMAKE_PREFIX_PATH=/cpp-cross &&
    cmake --build "$work/classify" && mkdir "$root/cpp-cross/bin" && cp "$work/classify/classify" "$root/cpp-cross/bin" &&
    aarch64-linux-gnu-g++ -std=c++17 --sysroot="$root" -I"$root/cpp-cross/include" "$source/tests/onnxruntime_main.cpp" \
      -L"$root/cpp-cross/lib" -lresnet_engine -Wl,-rpath,/cpp-cross/lib -Wl,--allow-shlib-undefined \
      -o "$root/cpp-cross/bin/onnxruntime_main" || return 1
  # The loader looks for libraries where they are on the machine that runs it.
  ! readelf -d "$root"/cpp-cross/{lib/*.so,bin/*} | grep -E "R(UN)?PATH" | grep -F "$root" >&2 || return 1
  rm -rf "$work"
} >"$root.cross.log"

# One bundle of each kind, of a network at 64 px: emulation is slow.
export_bundles() {
  local export=("$here/.venv/bin/export-ssl" --model resnet18 --weights random --img-size 64 --overwrite)
  local int8=(--int8 --calib "$bundles-calibration" --calib-images 64)
  "$here/.venv/bin/python" - "$here/exporter/photographs" "$bundles-calibration" <<'PYTHON' || return 1
import sys
from pathlib import Path
from PIL import Image
# Four photographs in sixteen pieces each.
for file in sorted(Path(sys.argv[1]).glob("*.jpg")):
    picture = Image.open(file)
    width, height = picture.width // 4, picture.height // 4
    (folder := Path(sys.argv[2]) / file.stem).mkdir(parents=True, exist_ok=True)
    for piece in range(16):
        left, top = piece % 4 * width, piece // 4 * height
        picture.crop((left, top, left + width, top + height)).save(folder / f"{piece}.png")
PYTHON
  mkdir -p "$bundles.partial"
  "${export[@]}" --output "$bundles.partial/fp32" &&
    "${export[@]}" --output "$bundles.partial/fp16" --fp16 &&
    "${export[@]}" --output "$bundles.partial/int8" "${int8[@]}" &&
    "${export[@]}" --output "$bundles.partial/int8-cpu" "${int8[@]}" --int8-target cpu &&
    "${export[@]}" --output "$bundles.partial/int8-rtx" "${int8[@]}" --int8-target rtx &&
    "${export[@]}" --output "$bundles.partial/int8-fp16" "${int8[@]}" --fp16 &&
    "${export[@]}" --output "$bundles.partial/embedding-fp16" --fp16 --no-classifier &&
    "${export[@]}" --output "$bundles.partial/batch3" --batch 3 &&
    mv "$bundles.partial" "$bundles"
}

copy_bundles() {
  rm -rf --one-file-system "$root/bundles"
  cp -r "$bundles" "$root/bundles"
}

mirror=${mirror:-$(debian_mirror)}
mirror=${mirror:-http://deb.debian.org/debian}
mkdir -p "$(dirname "$root")"
root=$(cd "$(dirname "$root")" && pwd)/$(basename "$root")
unmount
trap unmount EXIT
register_qemu
if [ -e "$root/.made" ]; then
  echo "the Debian arm64 of an earlier run is taken again: $root"
else
  step "Debian 12 arm64 in $root" make_debian --arch=arm64
fi
carry_settings
step "clean copy of $(git -C "$here" rev-parse --short HEAD)" copy_checkout
mount_devices
write_cpuinfo
step "thin runtime" install_runtime
if command -v aarch64-linux-gnu-g++ >/dev/null; then
  step "C library, cross-compiled" cross_compile
else
  echo "the C library is not cross-compiled: apt-get install g++-aarch64-linux-gnu"
fi
[ -d "$bundles" ] || step "bundles" export_bundles
copy_bundles
echo "== checks on $cpu: begin at $(date +%H:%M:%S)"
inside "bash tests/house/arm64_checks.sh /bundles '$only'"
