import numpy as np
import onnx
import pytest
from onnx import helper

from calibration.graph.checks import prepare
from calibration.qdq.placement import place
from runtime.errors import GraphError
from tests.helpers.graphs import make_model
from tests.helpers.resnet_graphs import Network, basic_block, bottleneck, channel_attention_block, downsample_block

# Tensor to what reads it quantised: node and input index. Written out by hand.
BASIC = {
    "x": [("conv1", 0)],
    "maxpool": [("b.conv1", 0), ("b.add", 1)],
    "b.act1": [("b.conv2", 0)],
    "b.act2": [("global_pool", 0)],
}
BOTTLENECK = {
    "x": [("conv1", 0)],
    "act1": [("b.conv1", 0), ("b.add", 1)],
    "b.act1": [("b.conv2", 0)],
    "b.act2": [("b.conv3", 0)],
    "b.act3": [("global_pool", 0)],
}
DOWNSAMPLE = {
    "x": [("conv1", 0)],
    "act1": [("b.conv1", 0), ("b.downsample", 0)],
    "b.act1": [("b.conv2", 0)],
    "b.downsample": [("b.add", 1)],
    "b.act2": [("global_pool", 0)],
}
POOLED_DOWNSAMPLE = {
    "x": [("conv1", 0)],
    "act1": [("b.conv1", 0)],
    "b.act1": [("b.conv2", 0)],
    "b.pool": [("b.downsample", 0)],
    "b.downsample": [("b.add", 1)],
    "b.act2": [("global_pool", 0)],
}


def placed(model, **options):
    placement = place(prepare(model), **options)
    return {tensor.name: list(tensor.uses) for tensor in placement.activations}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param(basic_block(), BASIC, id="basic"),
        pytest.param(bottleneck(), BOTTLENECK, id="bottleneck"),
        pytest.param(bottleneck(group=2), BOTTLENECK, id="grouped"),
        pytest.param(downsample_block(), DOWNSAMPLE, id="downsample"),
        pytest.param(downsample_block(pooled=True), POOLED_DOWNSAMPLE, id="downsample behind an average pool"),
    ],
)
def test_pairs_of_a_block_are_exactly_these_in_graph_order(model, expected):
    found = placed(model)
    assert found == expected
    assert list(found) == list(expected)


def test_skip_side_follows_the_identity_when_the_inputs_are_swapped():
    assert placed(bottleneck(identity_first=True)) == {**BOTTLENECK, "act1": [("b.conv1", 0), ("b.add", 0)]}
    swapped = placed(downsample_block(downsample_first=True))
    assert swapped == {**DOWNSAMPLE, "b.downsample": [("b.add", 0)]}


def test_the_main_branch_of_an_add_has_the_pair_where_told():
    main = {name: uses for name, uses in DOWNSAMPLE.items() if name != "b.downsample"} | {"b.conv2": [("b.add", 0)]}
    assert placed(downsample_block(), main_sides={"b.add"}) == main
    # The kernel that would add it is the downsample convolution's.
    kept = {name: uses for name, uses in main.items() if name != "b.conv2"}
    assert placed(downsample_block(), main_sides={"b.add"}, keep_float={"b.downsample"}) == {
        **kept,
        "act1": [("b.conv1", 0)],
    }


def test_every_convolution_is_int8_and_the_classifier_is_not():
    placement = place(prepare(bottleneck()))
    assert placement.weights == ("conv1", "b.conv1", "b.conv2", "b.conv3")
    assert (placement.target, placement.classifier) == ("tensorrt", False)


def test_classifier_is_quantised_when_asked_for():
    placement = place(prepare(basic_block()), classifier=True)
    assert placement.weights[-1] == "fc"
    assert placed(basic_block(), classifier=True) == {**BASIC, "embedding": [("fc", 0)]}


def test_signed_for_tensorrt_and_unsigned_for_the_cpu_where_nothing_is_negative():
    signed = place(prepare(downsample_block()))
    assert not any(tensor.unsigned for tensor in signed.activations)
    unsigned = place(prepare(downsample_block()), target="cpu")
    assert {tensor.name for tensor in unsigned.activations if tensor.unsigned} == {"act1", "b.act1", "b.act2"}


def test_a_mean_over_height_and_width_is_a_global_pool_and_one_over_channels_is_not():
    for axes, expected in (([2, 3], [("mean", 0)]), ([-1, -2], [("mean", 0)]), ([1], None)):
        net = Network()
        net.constants["axes"] = np.array(axes)
        net.node("Relu", "act1", net.conv("conv1", "x", shape=(4, 3, 3)))
        net.node("ReduceMean", "mean", "act1", "axes", keepdims=1)
        channels = 1 if axes == [1] else 4
        assert placed(net.finish("mean", channels)).get("act1") == expected


def test_a_layer_kept_in_float_reads_the_tensor_without_a_pair_and_others_keep_theirs():
    kept = frozenset({"b.conv1"})
    assert placed(downsample_block(), keep_float=kept) == {**DOWNSAMPLE, "act1": [("b.downsample", 0)]}
    assert placed(basic_block(), keep_float=kept) == {**BASIC, "maxpool": [("b.add", 1)]}
    assert "b.conv1" not in place(prepare(basic_block()), keep_float=kept).weights


def test_a_skip_side_has_no_pair_once_no_quantised_convolution_is_near():
    found = placed(basic_block(), keep_float=frozenset({"b.conv1", "b.conv2"}))
    assert "maxpool" not in found
    assert list(found) == ["x"]


def test_everything_in_float_leaves_no_pair():
    names = frozenset({"conv1", "b.conv1", "b.conv2", "b.conv3"})
    placement = place(prepare(bottleneck()), keep_float=names)
    assert (placement.activations, placement.weights) == ((), ())


def test_an_unknown_layer_is_refused():
    with pytest.raises(GraphError, match="no layer nowhere: expected names such as conv1"):
        place(prepare(basic_block()), keep_float=frozenset({"nowhere"}))


@pytest.mark.parametrize("target", ["tensorrt", "cpu", "rtx"])
def test_a_convolution_over_channels_stays_float_and_so_does_what_it_reads(target):
    placement = place(prepare(channel_attention_block()), target=target)
    assert placement.weights == ("conv1", "b.conv1")
    uses = [use for tensor in placement.activations for use in tensor.uses]
    assert not [name for name, _ in uses if name.startswith(("b.se.flat", "b.se.conv", "b.se.back"))]


def test_pairs_do_not_depend_on_the_batch():
    model = basic_block()
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del fixed.graph.value_info[:]
    assert placed(fixed, classifier=True) == placed(model, classifier=True)


def test_an_exported_resnet18_has_its_skips_and_its_pool_quantised(exported):
    model = onnx.load(exported.fp32 / "model.onnx")
    placement = place(prepare(model))
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    adds = [node for node in model.graph.node if node.op_type == "Add"]
    assert placement.weights == tuple(node.name for node in convolutions)
    uses = [use for tensor in placement.activations for use in tensor.uses]
    assert len(uses) == len(set(uses))
    assert {name for name, index in uses if index == 0} >= {node.name for node in convolutions}
    # 20 convolutions read 17 tensors (three are shared with a downsample), three downsample outputs, one pool.
    assert (len(convolutions), len(adds), len(placement.activations)) == (20, 8, 21)
    assert sorted(name for name, _ in uses if "add" in name) == sorted(node.name for node in adds)
    downsamples = [name for name in placement.weights if "downsample" in name]
    outputs = {node.name: node.output[0] for node in convolutions}
    read = {tensor.name: [name for name, _ in tensor.uses] for tensor in placement.activations}
    assert [read[outputs[name]] for name in downsamples] == [[f"layer{stage}.0.add"] for stage in (2, 3, 4)]


def test_a_node_that_only_looks_like_a_residual_add_gets_no_pair():
    net = Network()
    net.constants["shift"] = np.ones((1, 4, 1, 1), np.float32)
    net.conv("conv1", "x", shape=(4, 3, 3))
    net.nodes.append(helper.make_node("Add", ["conv1", "shift"], ["shifted"], name="shifted"))
    assert placed(net.finish("shifted", 4)).keys() == {"x", "shifted"}


def test_a_skip_from_a_downsample_keeps_its_pair_with_the_main_branch_and_loses_it_without():
    without = {name: uses for name, uses in DOWNSAMPLE.items() if name not in ("b.act1", "b.downsample")}
    assert placed(downsample_block(), keep_float={"b.conv2"}) == without
    assert placed(downsample_block(), keep_float={"b.downsample"}) == {**DOWNSAMPLE, "act1": [("b.conv1", 0)]}


def test_the_pool_reads_float_once_no_convolution_near_it_is_quantised():
    assert "b.act2" in placed(downsample_block(), keep_float={"b.downsample"})
    assert "b.act2" in placed(downsample_block(), keep_float={"b.conv2"})
    both = placed(downsample_block(), keep_float={"b.conv2", "b.downsample"})
    assert both == {"x": [("conv1", 0)], "act1": [("b.conv1", 0)]}


def test_a_classifier_that_is_kept_in_float_has_no_pair():
    placement = place(prepare(basic_block()), classifier=True, keep_float={"fc"})
    assert "fc" not in placement.weights
    assert placed(basic_block(), classifier=True, keep_float={"fc"}) == BASIC
    assert placed(basic_block(), keep_float={"fc"}) == BASIC


def test_a_classifier_that_is_a_matmul_is_quantised_when_asked_for():
    net = Network()
    net.node("GlobalAveragePool", "pool", net.conv("conv1", "x", shape=(4, 3, 3)))
    net.node("Flatten", "flat", "pool")
    net.constants["head"] = np.ones((4, 2), np.float32)
    net.node("MatMul", "y", "flat", "head")
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs={"y": ("n", 2)})
    pairs = {"x": [("conv1", 0)], "conv1": [("pool", 0)]}
    assert placed(model) == pairs
    assert placed(model, classifier=True) == {**pairs, "flat": [("y", 0)]}


def test_pooled_features_are_unsigned_for_the_cpu_and_a_skip_without_relu_is_signed():
    placement = place(prepare(downsample_block()), target="cpu", classifier=True)
    kinds = {tensor.name: tensor.unsigned for tensor in placement.activations}
    assert kinds == {
        **dict.fromkeys(("act1", "b.act1", "b.act2", "embedding"), True),
        **dict.fromkeys(("x", "b.downsample", "b.conv2"), False),
    }


def test_a_skip_that_a_quantised_convolution_reads_keeps_its_pair_beside_a_float_main_branch():
    without = {name: uses for name, uses in BOTTLENECK.items() if name != "b.act2"}
    assert placed(bottleneck(), keep_float={"b.conv3"}) == without


def test_pairs_come_in_the_order_of_their_tensors_and_not_of_what_reads_them():
    model = downsample_block()
    nodes = {node.name: node for node in model.graph.node}
    early = ["conv1", "act1", "b.downsample"]
    ordered = [nodes[name] for name in (*early, *(name for name in nodes if name not in early))]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    assert list(placed(model)) == ["x", "act1", "b.downsample", "b.act1", "b.act2"]


def test_for_a_cpu_both_sides_of_an_add_are_quantised_so_that_onnxruntime_needs_no_float_convolution() -> None:
    signed, unsigned = (place(prepare(basic_block()), target=target) for target in ("tensorrt", "cpu"))
    main = {use for tensor in unsigned.activations for use in tensor.uses} - {
        use for tensor in signed.activations for use in tensor.uses
    }
    (add,) = [node for node in basic_block().graph.node if node.op_type == "Add"]
    (branch,) = [(name, index) for name, index in main]
    assert branch[0] == add.name
    producers = {output: node.op_type for node in basic_block().graph.node for output in node.output}
    assert producers[add.input[branch[1]]] == "Conv"
    assert not next(tensor for tensor in unsigned.activations if branch in tensor.uses).unsigned


def test_a_layer_that_the_graph_does_not_have_is_named_with_one_that_it_has():
    with pytest.raises(GraphError, match=r"the graph has no layer a: expected names such as conv1"):
        place(prepare(basic_block()), keep_float={"b", "a", "conv1"})
