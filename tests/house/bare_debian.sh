# What tests/house/fresh_machine.sh and arm64_machine.sh share: a bare Debian 12 in a folder. To be sourced, with bash's
# strict settings; reads `root` (the folder), `mirror` and `packages` (what the Debian has beside its base).

fail() { echo "error: $1" >&2; exit "${2:-1}"; }

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

# Makes the Debian anew; arguments are debootstrap's options.
make_debian() {
  rm -rf --one-file-system "$root"
  mkdir -p "$root"
  local proxy=""
  eval "$(apt-config shell proxy Acquire::http::Proxy 2>/dev/null || true)"
  [ -z "$proxy" ] || export http_proxy=${http_proxy:-$proxy}
  # shellcheck disable=SC2086
  debootstrap "$@" --variant=minbase --include="${packages// /,}" bookworm "$root" "$mirror" >"$root.debootstrap.log" 2>&1 ||
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

unmount() {
  local place
  # run/netns: where `ip netns` was.
  for place in dev sys proc run/netns; do
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

# Prints the settings, one a line, that a program in the Debian has: its own, and this machine's for proxies and pip.
inner_settings() {
  printf '%s\n' HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb
  env | grep -E '^(PIP_[A-Z_]+|(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY|SSL_CERT_FILE|REQUESTS_CA_BUNDLE)=' || true
}
