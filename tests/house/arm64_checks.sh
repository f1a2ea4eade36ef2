#!/usr/bin/env bash
# What tests/house/arm64_machine.sh runs inside its Debian arm64, in the copy of the checkout: each check on its own, so
# that one failure hides no other. Prints a line for each, and at the end how many failed.
#
#   bash tests/house/arm64_checks.sh BUNDLES [CHECK,CHECK]
#
# BUNDLES is a folder of bundles; the runtime is installed in /venv. A check's log is /arm64-logs/CHECK.
set -uo pipefail
bundles=${1:?the folder of the bundles} only=${2:-}
export PATH=/venv/bin:$PATH
work=$(mktemp -d /tmp/arm64.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir -p /arm64-logs
failed=0

# Runs a command under a name, and prints whether it succeeded.
check() {
  local name=$1
  shift
  case ",$only," in ,, | *",$name,"*) ;; *) return 0 ;; esac
  if "$@" >"/arm64-logs/$name" 2>&1; then
    echo "passed  $name"
  else
    echo "FAILED  $name: /arm64-logs/$name"
    failed=$((failed + 1))
  fi
}

photographs=/export-ssl/exporter/photographs
# By the compiler in here, and by the cross-compiler outside, where there is one.
installed=/cpp-installed crossed=/cpp-cross

# An embedding job that is killed while it works, and begun again, gives the files of one that was left alone.
embed_killed() {
  local job number embed=(run-ssl embed "$bundles/fp32" "$work/pictures" --engine onnxruntime --batch-size 2
    --part-images 2 --workers 1)
  mkdir -p "$work/pictures"
  for number in $(seq 1 12); do
    cp "$(find "$photographs" -name '*.jpg' | sort | sed -n $((number % 4 + 1))p)" "$work/pictures/$number.jpg"
  done
  "${embed[@]}" --output "$work/whole" || return 1
  "${embed[@]}" --output "$work/killed" &
  job=$!
  for _ in $(seq 1 3000); do
    [ -n "$(find "$work/killed" -name 'part-*' 2>/dev/null)" ] && break
    kill -0 $job 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL $job || { echo "the job had ended before it could be killed"; return 1; }
  wait $job
  "${embed[@]}" --output "$work/killed" || return 1
  diff -r "$work/whole/data" "$work/killed/data" && echo "the same files"
}

# An FP16 bundle in every engine that is here, and in FP32.
loader() {
  python - "$bundles/fp16" <<'PYTHON'
import sys
from runtime.engines.open_engine import EngineOptions, load_engine
import numpy as np
for name, options in (("openvino", None), ("onnxruntime", None), ("onnxruntime", EngineOptions(precision="fp32"))):
    with load_engine(sys.argv[1], name, options) as engine:
        shape = engine.manifest.preprocessing.pixels_shape
        logits, embedding = engine.infer(np.zeros((2, *shape), np.uint8))
        print(name, engine.precision, logits.shape, embedding.shape)
PYTHON
}

build_cpp() {
  cmake -S runtime/cpp -B /cpp-build -G Ninja -DRNE_WARNINGS_AS_ERRORS=ON \
    -DOpenVINO_DIR="$(python -c 'import openvino; print(openvino.__path__[0] + "/cmake")')" \
    -DRNE_ONNXRUNTIME=ON -DOnnxRuntime_INCLUDE_DIR="$PWD/runtime/cpp/tests/standin" &&
    cmake --build /cpp-build && cmake --install /cpp-build --prefix $installed
}

build_examples() {
  local example
  for example in classify embed latency; do
    cmake -S runtime/cpp/examples/$example -B /cpp-build-$example -G Ninja -DCMAKE_PREFIX_PATH=$installed &&
      cmake --build /cpp-build-$example || return 1
  done
  mkdir -p $installed/bin && cp /cpp-build-classify/classify $installed/bin/ &&
    g++ -std=c++17 -I$installed/include runtime/cpp/tests/onnxruntime_main.cpp -L$installed/lib -lresnet_engine \
      -Wl,-rpath,$installed/lib -o $installed/bin/onnxruntime_main
}

# A bundle in OpenVINO: labels of a photograph.
classify() {
  "$1/bin/classify" "$bundles/$2" "$photographs/chelsea.jpg"
}

# A bundle in onnxruntime: its golden images, batches of all sizes, refusals.
in_onnxruntime() {
  "$1/bin/onnxruntime_main" "$bundles/$2" \
    "$(python -c 'import glob, onnxruntime; print(*glob.glob(onnxruntime.__path__[0] + "/capi/libonnxruntime.so.*"))')"
}

native_preprocess() {
  python tests/house/arm64_preprocess.py "$bundles/fp32" "$photographs" --native "$1/lib/libresnet_engine.so"
}

for bundle in "$bundles"/*/; do
  name=$(basename "$bundle")
  check "verify-$name" run-ssl verify "$bundle"
done
check doctor run-ssl doctor "$bundles/fp32"
check loader loader
check preprocess python tests/house/arm64_preprocess.py "$bundles/fp32" "$photographs"
check embed-killed embed_killed
check cpp-build build_cpp
check cpp-examples build_examples
for kind in cpp cpp-cross; do
  [ $kind = cpp ] && prefix=$installed || prefix=$crossed
  [ $kind = cpp ] || [ -d $prefix ] || continue
  check $kind-preprocess native_preprocess $prefix
  for name in fp32 fp16 int8-cpu; do check "$kind-classify-$name" classify $prefix "$name"; done
  for name in fp32 fp16 int8-cpu int8-fp16; do check "$kind-onnxruntime-$name" in_onnxruntime $prefix "$name"; done
done
echo "$failed failed"
[ "$failed" = 0 ]
