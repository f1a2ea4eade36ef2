#!/usr/bin/env bash
# openvino 2026.4.1: importing the inference library keeps an identity below the home folder, to send statistics with.
#
# Expected: OpenVINO's documents speak of statistics of its tools for developers, such as the model converter and
# benchmark_app. Seen: `import openvino` alone writes an identity and a folder of its statistics into ~/intel, since the
# package imports its converter, whose first lines report an event "import". No file comes where the package
# openvino_telemetry, which openvino demands, cannot be imported; openvino then works without it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null venv/bin/pip install --quiet openvino==2026.4.1 openvino-telemetry==2025.2.0 numpy
cat >see.py <<'PYTHON'
import os
import sys

if "without" in sys.argv:
    sys.modules["openvino_telemetry"] = None
import openvino

kept = sorted(os.listdir(os.path.expanduser("~/intel"))) if os.path.isdir(os.path.expanduser("~/intel")) else []
print(openvino.__version__.split("-")[0], *sys.argv[1:], *(kept or ["nothing"]))
PYTHON
see() {
  rm -rf home && mkdir home
  # Neither do jobs of continuous integration send, which these variables say of themselves.
  env -u CI -u GITHUB_ACTIONS -u TF_BUILD -u JENKINS_URL HOME="$work/home" venv/bin/python see.py "$@"
}
seen=$(see && see without)
echo "$seen"
wanted="2026.4.1 openvino_ga_cid stats
2026.4.1 without nothing"
[ "$seen" = "$wanted" ] || { echo "the behaviour has changed"; exit 1; }
