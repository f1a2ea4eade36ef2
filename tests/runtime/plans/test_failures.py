"""Why a build failed, by messages as TensorRT writes them and by the ends that processes come to."""

import signal

import pytest

from runtime.engines.trt.library import RTX
from runtime.plans.failures import explain_death, explain_refusal, is_refusal

NO_KERNEL = "Could not find any implementation for node"
# As TensorRT 8 to 10 put it, with what follows the node's name.
REFUSALS = [
    (f"Error Code 10: Internal Error ({NO_KERNEL} layer1.0.conv1 + layer1.0.act1.)", "layer1.0.conv1 + layer1.0.act1"),
    (
        f"10: [optimizer.cpp::computeCosts::2033] Error Code 10: Internal Error ({NO_KERNEL} Conv_119 + Add_182.)",
        "Conv_119 + Add_182",
    ),
    (
        f"IBuilder::buildSerializedNetwork: Error Code 10: Internal Error ({NO_KERNEL} layer1.0.conv1 + "
        "PWN(layer1.0.act1). In computeCosts at optimizer/common/tactic/optimizer.cpp:4115)",
        "layer1.0.conv1 + PWN(layer1.0.act1)",
    ),
    (f"Error Code 10: Internal Error ({NO_KERNEL} (Unnamed Layer* 0) [RNN].)", "(Unnamed Layer* 0) [RNN]"),
    (
        f"Error 10: {NO_KERNEL} {{ForeignNode[ONNXTRT_unsqueezeTensor...ONNXTRT_squeezeTensor_615]}}",
        "{ForeignNode[ONNXTRT_unsqueezeTensor...ONNXTRT_squeezeTensor_615]}",
    ),
    (f"{NO_KERNEL} fc.", "fc"),
    ("Internal Error (could not find any implementation\nfor node\n  fc.)", "fc"),
]


@pytest.mark.parametrize(("message", "layer"), REFUSALS, ids=[layer for _, layer in REFUSALS])
def test_layer_without_a_kernel_is_named_with_what_to_try(message: str, layer: str) -> None:
    text = explain_refusal([message], name="model.onnx")
    assert text.startswith(f"TensorRT found no kernel for {layer!r} of model.onnx (")
    assert "--workspace" in text
    assert "--hardware-compatible" in text
    assert "`export-ssl --max-drop`" in text
    assert "\n" not in text


def test_no_kernel_for_want_of_memory_says_so() -> None:
    errors = [
        "Error Code 1: Cuda Runtime (out of memory)",
        f"Error Code 10: Internal Error ({NO_KERNEL} layer4.0.conv2.)",
    ]
    text = explain_refusal(errors, name="model.onnx")
    assert text.startswith("TensorRT found no kernel for 'layer4.0.conv2' of model.onnx")
    assert "the GPU's memory ran out while it tried: free some" in text
    assert "memory ran out" not in explain_refusal(errors[1:], name="model.onnx")


@pytest.mark.parametrize(
    "message",
    [
        "Error Code 1: Cuda Runtime (out of memory)",
        "[resizingAllocator.cpp::allocate::98] Error Code 1: Cuda Runtime (out of memory)",
        "Error Code: OutOfMemory (Requested size was 4294967296 bytes.)",
        "cudaErrorMemoryAllocation: out of memory",
        "Tactic Device request: 8194MB Available: 4036MB. Device memory is insufficient memory to use tactic.",
    ],
)
def test_memory_that_ran_out_is_said_with_who_may_hold_it(message: str) -> None:
    text = explain_refusal([message], name="model.onnx")
    assert text.startswith("the GPU's memory ran out while model.onnx was built (")
    assert message in text
    assert "nvidia-smi" in text
    assert "--profile" in text


def test_other_errors_are_passed_on_the_last_three_in_one_line() -> None:
    errors = [f"Error Code {number}: API Usage Error (thing\n{number})" for number in range(5)]
    text = explain_refusal(errors, name="model.onnx")
    assert text == (
        "TensorRT could not build a plan of model.onnx: Error Code 2: API Usage Error (thing 2); "
        "Error Code 3: API Usage Error (thing 3); Error Code 4: API Usage Error (thing 4)"
    )


def test_refusal_without_a_reason_asks_for_the_log() -> None:
    assert explain_refusal([], name="model.onnx") == (
        "TensorRT could not build a plan of model.onnx and gave no reason: see its log with --verbose"
    )


def test_killed_build_is_most_likely_out_of_memory() -> None:
    text = explain_death(-signal.SIGKILL, stage="kernels", last_words="")
    assert text.startswith("the build was killed while it was at 'kernels', most likely for using up this machine's")
    assert "--workspace" in text
    assert "nothing was changed" in text
    assert "last output" not in text


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL])
def test_crash_is_named_by_its_signal(number: signal.Signals) -> None:
    text = explain_death(-number, stage="golden images", last_words="free(): invalid pointer")
    assert text.startswith(f"TensorRT crashed ({number.name}) while it was at 'golden images'")
    assert "its last output: free(): invalid pointer" in text
    assert "nothing was changed" in text


def test_signal_without_a_name_is_its_number() -> None:
    assert "TensorRT crashed (signal 99)" in explain_death(-99, stage="parse", last_words="")


@pytest.mark.parametrize("code", [1, 127])
def test_exit_code_is_said_with_the_last_words(code: int) -> None:
    text = explain_death(code, stage="start", last_words="ImportError: libnvinfer.so.10")
    assert text == (
        f"the build ended with exit code {code} while it was at 'start'; its last output: ImportError: "
        "libnvinfer.so.10: run it with --verbose"
    )


def test_end_without_an_answer_is_an_end_too() -> None:
    assert "exit code 0" in explain_death(0, stage="kernels", last_words="")


# As TensorRT for RTX 1.7 wrote them.
ON_TURING = (
    "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:337: check_turing_op_compatibility] Cannot "
    "compile operation 'fc' for Turing (SM75): FP32 GEMM is not supported. In compileGraph at "
    "/_src/optimizer/myelin/codeGenerator.cpp:2012)"
)
TOO_LARGE = (
    "Profile kMAX values are not self-consistent. bn1: tensor volume exceeds 1099511627776, dimensions are "
    "[batch,64,32,32] Condition '<' violated: 100000000 >= 16777217. In operator() at "
    "/_src/runtime/core/shapeMachine.cpp:628 Instruction: CHECK_LESS 100000000 16777217."
)
NO_SCRATCH = "[localCheckMacros.cpp::getErrorStr::132] Error Code 2: OutOfMemory (Requested size was 12293632 bytes.)"


def test_an_fp32_classifier_on_turing_is_sent_to_fp16() -> None:
    text = explain_refusal([ON_TURING], name="model.onnx", library=RTX)
    assert text == (
        "TensorRT for RTX has no FP32 matrix product for Turing, and 'fc' of model.onnx is one: export the bundle with "
        "`export-ssl --fp16`, or leave Turing out of --gpu"
    )


def test_a_batch_that_no_tensor_holds_is_refused_though_a_plan_is_built() -> None:
    assert is_refusal(TOO_LARGE)
    assert not is_refusal("Detected 1 inputs and 2 output network tensors.")
    text = explain_refusal([TOO_LARGE], name="model.onnx", library=RTX)
    assert text == (
        "the largest batch of --profile is too large for model.onnx: tensor bn1 would have more than 1,099,511,627,776 "
        "elements; lower it"
    )


def test_want_of_scratch_memory_without_a_gpu_is_none_of_a_gpus() -> None:
    text = explain_refusal([NO_SCRATCH], name="model.onnx", library=RTX)
    assert text == (
        "model.onnx needs 12.3 MB of scratch memory at the largest batch of --profile, more than --workspace allows: "
        "raise --workspace, or lower --profile"
    )
    assert "the GPU's memory ran out" in explain_refusal([NO_SCRATCH], name="model.onnx")


def test_other_refusals_and_crashes_name_the_library() -> None:
    text = explain_refusal([], name="model.onnx", library=RTX)
    assert text.startswith("TensorRT for RTX could not build a plan of model.onnx")
    text = explain_death(-signal.SIGSEGV, stage="parse", last_words="", library=RTX)
    assert text.startswith("TensorRT for RTX crashed (SIGSEGV) while it was at 'parse': pass a smaller --profile")
