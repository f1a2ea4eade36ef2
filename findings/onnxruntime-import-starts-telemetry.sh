#!/usr/bin/env bash
# onnxruntime 1.32.0, the package for Linux: importing it starts telemetry, without a word.
#
# Expected: as in earlier versions, telemetry is gathered on Windows alone; disable_telemetry_events() is there for those
# builds. Seen: the import starts a thread, and writes a file `.ses` with an identity into the folder for temporary files,
# before any function can be called. disable_telemetry_events() comes too late for both. ORT_DISABLE_TELEMETRY=1 in the
# environment prevents them, and so do CI and GITHUB_ACTIONS. An earlier version, 1.24.1, does neither.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for version in 1.24.1 1.32.0; do
  python3 -m venv "venv-$version"
  # Without the constraints that a machine's pip may have, as they can hide the newest version.
  PIP_CONSTRAINT=/dev/null "venv-$version/bin/pip" install --quiet "onnxruntime==$version" numpy
done
cat >see.py <<'PYTHON'
import os
import sys

before = len(os.listdir("/proc/self/task"))
import onnxruntime

if "disable" in sys.argv:
    onnxruntime.disable_telemetry_events()
threads = len(os.listdir("/proc/self/task")) - before
print(onnxruntime.__version__, *sys.argv[1:], f"threads {threads}", f"file {os.path.exists(os.environ['TMPDIR'] + '/.ses')}")
PYTHON
see() {
  local version=$1 settings=$2
  shift 2
  rm -rf seen && mkdir seen
  # One thread for NumPy's OpenBLAS, whose own threads would be counted.
  env -u ORT_DISABLE_TELEMETRY -u CI -u GITHUB_ACTIONS TMPDIR="$work/seen" OPENBLAS_NUM_THREADS=1 $settings "venv-$version/bin/python" see.py "$@"
}
seen=$(see 1.24.1 "" && see 1.32.0 "" && see 1.32.0 "" disable && see 1.32.0 ORT_DISABLE_TELEMETRY=1 variable)
echo "$seen"
wanted="1.24.1 threads 0 file False
1.32.0 threads 1 file True
1.32.0 disable threads 1 file True
1.32.0 variable threads 0 file False"
[ "$seen" = "$wanted" ] || { echo "the behaviour has changed"; exit 1; }
