#!/usr/bin/env bash
# onnxoptimizer 0.4.2: fusing BatchNormalization into convolutions makes a larger graph that computes its weights each time.
#
# Expected: optimize() folds a BatchNormalization into the weights and the bias of the convolution before it, which are
# constants, so that two nodes become one. Seen: two nodes become eleven: the convolution, and ten that compute its weights
# and bias from the old ones whenever the network is run, and none of the passes folds them. Without the fusion, the file
# has fewer nodes. onnxsim, and onnxruntime when it opens the file, fold them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet onnxoptimizer==0.4.2 onnxsim==0.8.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from collections import Counter
from importlib.metadata import version

import numpy as np
import onnx
import onnxoptimizer
import onnxruntime
import onnxsim
from onnx import TensorProto, helper, numpy_helper

randoms = np.random.default_rng(0)
image = randoms.random((1, 8, 16, 16), np.float32)


def network():
    """Return a residual block: twice convolution and BatchNormalization, the addition, ReLUs."""
    constants, nodes, source = {}, [], "x"
    for place in "ab":
        constants[f"{place}_w"] = randoms.normal(0, 0.1, (8, 8, 3, 3))
        constants |= {f"{place}_{name}": randoms.uniform(0.5, 1.5, 8) for name in ("scale", "bias", "mean", "var")}
        nodes.append(helper.make_node("Conv", [source, f"{place}_w"], [f"{place}_c"], pads=[1] * 4))
        parts = [f"{place}_{name}" for name in ("c", "scale", "bias", "mean", "var")]
        nodes.append(helper.make_node("BatchNormalization", parts, [f"{place}_n"]))
        if place == "b":
            nodes.append(helper.make_node("Add", ["b_n", "x"], ["b_s"]))
        nodes.append(helper.make_node("Relu", ["b_s" if place == "b" else "a_n"], ["y" if place == "b" else "a_r"]))
        source = "a_r"
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, image.shape) for name in "xy"]
    inits = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", tensors[:1], tensors[1:], inits),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def result(model):
    """Return the result without any optimisation of onnxruntime's own."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": image})[0]


names = ("onnxoptimizer", "onnxsim", "onnx", "onnxruntime")
print(*(f"{name} {version(name)}" for name in names))
model = network()
passes = onnxoptimizer.get_fuse_and_elimination_passes()
made = {
    "as it is": model,
    "optimize(), its default": onnxoptimizer.optimize(model),
    "fuse_bn_into_conv": onnxoptimizer.optimize(model, ["fuse_bn_into_conv"]),
    "all passes to a fixed point": onnxoptimizer.optimize(model, passes, fixed_point=True),
    "the default without the fusion": onnxoptimizer.optimize(model, [name for name in passes if name != "fuse_bn_into_conv"]),
    "onnxsim": onnxsim.simplify(model)[0],
}
counts = {}
for name, changed in made.items():
    counts[name] = len(changed.graph.node)
    kinds = Counter(node.op_type for node in changed.graph.node)
    print(f"{name}: {counts[name]} nodes:", ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    assert np.allclose(result(changed), result(model), atol=1e-4)
sys.exit(0 if list(counts.values()) == [7, 25, 25, 25, 7, 5] else "the behaviour has changed")
PYTHON
