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

fail() { echo "error: $1" >&2; exit "${2:-1}"; }

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

# Prints a step's name, runs it, and prints the time that it took.
step() {
  local name=$1 began=$SECONDS
  shift
  echo "== $name: begins at $(date +%H:%M:%S)"
  "$@" || fail "$name failed after $((SECONDS - began)) s"
  echo "== $name: done in $((SECONDS - began)) s"
}

debian_mirror() {
  # Both forms of apt's sources: `deb [options] URL suite ...` and `URIs: URL`.
  local sources
  sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)
  sed -nE 's/^deb (\[[^]]*\] )?([^ ]+) bookworm .*/\2/p; s/^URIs: *([^ ]*debian\/?)$/\1/p' <<<"$sources" | sed -n 1p
}

make_debian() {
  rm -rf --one-file-system "$root"
  mkdir -p "$root"
  local proxy=""
  eval "$(apt-config shell proxy Acquire::http::Proxy 2>/dev/null || true)"
  [ -z "$proxy" ] || export http_proxy=${http_proxy:-$proxy}
  # shellcheck disable=SC2086
  debootstrap --variant=minbase --include="${packages// /,}" bookworm "$root" "$mirror" >"$root.debootstrap.log" 2>&1 ||
    { tail -n 20 "$root.debootstrap.log" >&2; return 1; }
  touch "$root/.made"
}

# Copies a file or a folder's content to the same place in the bare machine, where it is there.
carry() {
  [ -e "$1" ] || return 0
  mkdir -p "$root$(dirname "$1")"
  # Links in the bare machine would lead to this one's files.
  cp -aL --remove-destination "$1" "$root$(dirname "$1")/"
}

carry_settings() {
  local place
  for place in /etc/resolv.conf /etc/hosts /etc/pip.conf "$HOME/.pip" "$HOME/.config/pip" /etc/ssl/certs \
    /usr/local/share/ca-certificates /etc/apt/apt.conf /etc/apt/apt.conf.d /etc/apt/auth.conf.d; do
    carry "$place"
  done
  # What pip's settings name: certificates, folders with wheels.
  local named
  named=$(env | grep '^PIP_' || true)$'\n'$(cat /etc/pip.conf "$HOME/.pip/pip.conf" "$HOME/.config/pip/pip.conf" 2>/dev/null || true)
  for place in $(grep -oE '[= ]/[^ ,:]+' <<<"$named" | tr -d '= ' | sort -u) ${SSL_CERT_FILE:-} ${REQUESTS_CA_BUNDLE:-}; do
    carry "$place"
  done
  # Sources of another release would bring packages that Debian 12 does not have.
  if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release 2>/dev/null; then
    for place in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/trusted.gpg.d /etc/apt/keyrings \
      /usr/share/keyrings; do
      carry "$place"
    done
  fi
}

clone() {
  rm -rf --one-file-system "$root/export-ssl"
  git clone --quiet --no-local "$here" "$root/export-ssl"
}

unmount() {
  local place
  for place in dev sys proc; do
    if mountpoint -q "$root/$place"; then umount --recursive --lazy "$root/$place"; fi
  done
}

mount_devices() {
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --make-rslave "$root/sys"
  # With /dev/shm, where Ray and PyTorch share memory, and /dev/pts.
  mount --rbind /dev "$root/dev"
  mount --make-rslave "$root/dev"
}

# Runs a shell command in the clone, on the bare machine, with an environment of its own.
inside() {
  local settings=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb) line
  while IFS= read -r line; do settings+=("$line"); done \
    < <(env | grep -E '^(PIP_[A-Z_]+|(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY|SSL_CERT_FILE|REQUESTS_CA_BUNDLE)=')
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
