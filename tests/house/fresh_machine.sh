#!/usr/bin/env bash
# A clean clone of this checkout on a bare machine: README's two commands, then what continuous integration runs.
#
#   bash tests/house/fresh_machine.sh [--root FOLDER] [--mirror URL] [--reuse] [--only env|demo|test|ci]
#
# --root    where the bare Debian 12 is made and kept (default: build/fresh)
# --mirror  Debian's mirror (default: this machine's own, from its apt sources)
# --reuse   take the Debian that is there from an earlier run; the clone is a new one in any case
# --only    one step: `env` installs the environment and runs a handful of tests
#
# `make fresh` runs it, outside `make test`: it needs root, debootstrap, the network and about an hour. What the bare
# Debian has beside its base is in `packages`; a package that a step needs and does not install itself shows here.
# Settings of this machine that reach its registries, for apt and pip, are carried in. All that runs in it runs as root.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
packages="python3 python3-venv make g++ ca-certificates"
root=$here/build/fresh mirror="" reuse="" only=""

# shellcheck source=tests/house/bare_debian.sh
. "$here/tests/house/bare_debian.sh"

while [ $# -gt 0 ]; do
  case $1 in
    --root) root=${2:?--root needs a folder}; shift 2 ;;
    --mirror) mirror=${2:?--mirror needs a URL}; shift 2 ;;
    --only) only=${2:?--only needs a step}; shift 2 ;;
    --reuse) reuse=yes; shift ;;
    *) fail "unknown argument $1: expected --root, --mirror, --reuse or --only" 2 ;;
  esac
done
case $only in "" | env | demo | test | ci) ;; *) fail "--only $only: expected env, demo, test or ci" 2 ;; esac
[ "$(id -u)" = 0 ] || fail "make fresh needs root: debootstrap and chroot are root's"
command -v debootstrap >/dev/null || fail "debootstrap not found: apt-get install debootstrap"
command -v git >/dev/null || fail "git not found: apt-get install git"

clone() {
  rm -rf --one-file-system "$root/export-ssl"
  git clone --quiet --no-local "$here" "$root/export-ssl"
}

# Runs a shell command in the clone, on the bare machine, with an environment of its own.
inside() {
  local settings
  mapfile -t settings < <(inner_settings)
  chroot "$root" /usr/bin/env -i "${settings[@]}" /bin/bash -c "cd /export-ssl && $1"
}

mirror=${mirror:-$(debian_mirror)}
mirror=${mirror:-http://deb.debian.org/debian}
mkdir -p "$(dirname "$root")"
root=$(cd "$(dirname "$root")" && pwd)/$(basename "$root")
unmount
trap unmount EXIT
echo "Debian 12 in $root with: $packages"
if [ -n "$reuse" ] && [ -e "$root/.made" ]; then
  echo "the Debian of an earlier run is taken again"
else
  step "bare Debian" make_debian
fi
carry_settings
step "clean clone of $(git -C "$here" rev-parse --short HEAD)" clone
mount_devices
if [ "$only" = env ]; then
  step "make env" inside "make env"
  step "a handful of tests" inside ".venv/bin/pytest -q tests/house tests/runtime/bundle tests/runtime/support"
fi
if [ -z "$only" ] || [ "$only" = demo ]; then step "make demo" inside "make demo"; fi
if [ -z "$only" ] || [ "$only" = test ]; then step "make test" inside "make test"; fi
if [ -z "$only" ] || [ "$only" = ci ]; then step ".ci/run" inside "CI=true bash .ci/run"; fi
echo "all of it passed in $SECONDS s"
