#!/usr/bin/env bash
# TensorRT for RTX 1.7.1.116: reading an option of a fresh builder configuration logs an internal error.
#
# Expected: a property of the documented interface is read without a message. Seen: `hardware_compatibility_level` of a
# configuration that nobody has touched gives NONE, and the logger receives an error of the highest severity.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
  tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116 onnx==1.22.0 numpy
"$work/venv/bin/python" - <<'PYTHON'
import sys

import tensorrt_rtx_bindings as trt


class Log(trt.ILogger):
    def __init__(self):
        super().__init__()
        self.messages = []

    def log(self, severity, text):
        self.messages.append((severity.name, text))


log = Log()
config = trt.Builder(log).create_builder_config()
log.messages.clear()
value = config.hardware_compatibility_level
print("version", trt.__version__)
print("hardware_compatibility_level:", value)
for level, text in log.messages:
    print(f"{level}: {text}")
levels = {level for level, _ in log.messages}
sys.exit(0 if levels & {"INTERNAL_ERROR", "ERROR"} else "the behaviour has changed")
PYTHON
