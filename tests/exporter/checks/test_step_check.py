import math

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from exporter.checks.step_check import as_json_db, check_step
from runtime.bundle.bundle import Golden
from runtime.errors import VerificationError
from tests.conftest import crops
from tests.helpers.exported import change_weights
from tests.helpers.graphs import make_model

# 20 log10(2^24) less 10 log10(27 + 6), the products of the two layers.
REQUIRED_DB = 129.0


def weights():
    rng = np.random.default_rng(0)
    return {
        "w": rng.normal(size=(6, 3, 3, 3)).astype(np.float32),
        "fc": rng.normal(size=(5, 6)).astype(np.float32),
    }


def graph(**changed):
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
            helper.make_node("Relu", ["c"], ["r"], name="act"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
            helper.make_node("Flatten", ["p"], ["embedding"], name="flat"),
            helper.make_node("Gemm", ["embedding", "fc"], ["logits"], name="fc", transB=1),
        ],
        {**weights(), **changed},
        input_shape=("n", 3, 8, 8),
        outputs={"logits": ("n", len(changed.get("fc", range(5)))), "embedding": ("n", 6)},
    )
    return model.SerializeToString()


def feed():
    pictures = [np.asarray(picture.resize((8, 8)), np.float32).transpose(2, 0, 1) for picture in crops()[::20]]
    return np.stack(pictures) / 255


def golden():
    made = weights()
    maps = torch.nn.functional.conv2d(torch.from_numpy(feed()), torch.from_numpy(made["w"])).relu()
    embedding = maps.mean(dim=(2, 3))
    logits = embedding @ torch.from_numpy(made["fc"]).T
    return Golden(pixels=np.zeros(0, np.uint8), logits=logits.numpy(), embedding=embedding.numpy())


def check(content, *, expected=None, images=None, required_db=REQUIRED_DB, **choices):
    images = feed() if images is None else images
    required = required_db if isinstance(required_db, dict) else {"logits": required_db, "embedding": required_db}
    return check_step(content, step="simplify", feed=images, golden=expected or golden(), required=required, **choices)


def test_graph_that_computes_the_same_passes_with_its_figures():
    found = check(graph())
    assert found.required == {"logits": REQUIRED_DB, "embedding": REQUIRED_DB}
    assert min(found.reached["logits"], found.reached["embedding"]) >= REQUIRED_DB


def test_one_perturbed_classifier_weight_fails_and_names_the_step_and_the_logits():
    def change(name, array):
        if name == "fc":
            array[2, 3] *= 1.01
        return array

    pattern = r"^step simplify: output logits has \d+\.\d dB SQNR against PyTorch, expected at least 129\.0 dB"
    with pytest.raises(VerificationError, match=pattern):
        check(change_weights(graph(), change))


def test_worst_output_is_the_one_that_is_named():
    expected = golden()
    # The embedding's third feature is another one, and the logits do not use it.
    unused = weights()["fc"] * np.array([1, 1, 0, 1, 1, 1], np.float32)
    logits = expected.embedding @ unused.T
    broken = expected.embedding * np.array([1, 1, 1.5, 1, 1, 1], np.float32)
    with pytest.raises(VerificationError, match="step simplify: output embedding has"):
        check(graph(fc=unused), expected=Golden(pixels=expected.pixels, logits=logits, embedding=broken))


def test_each_output_has_its_own_tolerance():
    """The embedding is 40 dB away: that is within its tolerance, and the logits are within theirs."""
    expected = golden()
    near = Golden(pixels=expected.pixels, logits=expected.logits, embedding=expected.embedding * np.float32(0.99))
    found = check(graph(), expected=near, required_db={"logits": REQUIRED_DB, "embedding": 39.0})
    # A hundredth of what is found is 40 dB below it, of the reference 0.09 dB less.
    assert found.reached["embedding"] == pytest.approx(39.91, abs=0.01)
    assert found.worst == "embedding"
    with pytest.raises(VerificationError, match=r"output embedding has 39\.9 dB .* expected at least 41\.0 dB"):
        check(graph(), expected=near, required_db={"logits": REQUIRED_DB, "embedding": 41.0})


def test_equal_logits_do_not_hide_an_embedding_that_is_not():
    """A classifier of zeros gives equal logits whatever the embedding is."""
    expected, zeros = golden(), np.zeros((5, 6), np.float32)
    logits = np.zeros_like(expected.logits)
    broken = Golden(pixels=expected.pixels, logits=logits, embedding=expected.embedding * np.float32(1.01))
    with pytest.raises(VerificationError, match=r"output embedding has 40\.\d dB"):
        check(graph(fc=zeros), expected=broken)
    right = Golden(pixels=expected.pixels, logits=logits, embedding=expected.embedding)
    found = check(graph(fc=zeros), expected=right)
    assert (found.reached["logits"], found.worst) == (math.inf, "embedding")


def test_what_to_do_is_the_advice_of_the_step():
    with pytest.raises(VerificationError, match="please report this model"):
        check(graph(fc=weights()["fc"] * 2))
    with pytest.raises(VerificationError, match=r"no bundle is written; look at the images$"):
        check(graph(fc=weights()["fc"] * 2), advice="look at the images")


def test_one_perturbed_convolution_weight_fails():
    def change(name, array):
        if name == "w":
            array[0, 0, 0, 0] += 1e-3
        return array

    with pytest.raises(VerificationError, match=r"step simplify: output (logits|embedding) has"):
        check(change_weights(graph(), change))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_value_that_is_not_finite_fails_and_names_its_image(value):
    images = feed()
    images[1, 0, 4, 4] = value
    with pytest.raises(
        VerificationError, match=r"step simplify: output logits of golden image 1 holds NaN or infinity"
    ):
        check(graph(), images=images, required_db=-math.inf)


def test_nan_weight_fails_whatever_the_tolerance():
    poisoned = weights()["fc"]
    poisoned[0, 0] = math.nan
    with pytest.raises(VerificationError, match="output logits of golden image 0 holds NaN"):
        check(graph(fc=poisoned), required_db=-math.inf)


def test_another_number_of_classes_fails():
    with pytest.raises(VerificationError, match=r"output logits has shape \(3, 4\), expected \(3, 5\)"):
        check(graph(fc=weights()["fc"][:4]))


def test_tolerance_that_is_no_number_fails():
    with pytest.raises(VerificationError):
        check(graph(), required_db=math.nan)


def test_equal_outputs_are_null_in_a_manifest_and_others_are_rounded():
    assert as_json_db(math.inf) is None
    assert as_json_db(99.4949) == 99.49


def test_rounding_that_is_written_into_the_graph_is_seen():
    """Casts to FP16 and back that stand in the graph round in onnxruntime; those that it inserts itself may not."""
    model = onnx.load_from_string(graph())
    model.graph.node[0].input[0] = "rounded"
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["half"], name="down", to=onnx.TensorProto.FLOAT16))
    model.graph.node.insert(1, helper.make_node("Cast", ["half"], ["rounded"], name="up", to=onnx.TensorProto.FLOAT))
    with pytest.raises(VerificationError, match="expected at least 129"):
        check(model.SerializeToString())
