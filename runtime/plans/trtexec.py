"""The trtexec command that does what a build and its timing do, so that anyone can repeat them.

trtexec's defaults changed in 11: CUDA graph and spin-wait are on there, data transfers are off, and networks are
strongly typed. Both commands say all of it, so that 10.x and 11.x measure the same.

Source: NVIDIA/TensorRT, samples/common/sampleOptions.cpp of 10.16 and 11.1.
"""

import shlex
from pathlib import Path

from runtime.bundle.manifest import TensorSpec
from runtime.bundle.plan_json import BuildOptions

# Warm-up in milliseconds and length in seconds: trtexec's own defaults, written out.
_RUN = ("--warmUp=200", "--duration=3")
_HARDWARE = {"ampere+": "ampere+", "same-compute-capability": "sameComputeCapability"}


def trtexec_command(
    model: Path, network_input: TensorSpec, options: BuildOptions, *, major: int, timing_cache: Path | None = None
) -> str:
    """Return the trtexec command line that builds the same plan and times it as this project does.

    Args:
        model: The ONNX file.
        network_input: The network's input.
        options: How the plan is built.
        major: Major version of TensorRT, 10 or 11.
        timing_cache: File of kernel times; None for none.
    """
    plan = model.with_suffix(".plan")
    words = ["trtexec", f"--onnx={model}", f"--saveEngine={plan}"]
    if network_input.fixed_batch is None:
        # "Static model does not take explicit shapes", says trtexec where the batch is fixed.
        for word, batch in (("min", options.profile.min), ("opt", options.profile.opt), ("max", options.profile.max)):
            words.append(f"--{word}Shapes={_shape(network_input, batch)}")
        words.append(f"--shapes={_shape(network_input, options.profile.opt)}")
    words += [f"--builderOptimizationLevel={options.optimization_level}", "--profilingVerbosity=detailed"]
    if options.workspace_mib is not None:
        words.append(f"--memPoolSize=workspace:{options.workspace_mib}M")
    if options.version_compatible:
        words.append("--versionCompatible")
    if options.hardware_compatibility != "none":
        words.append(f"--hardwareCompatibilityLevel={_HARDWARE[options.hardware_compatibility]}")
    if timing_cache is not None:
        words.append(f"--timingCacheFile={timing_cache}")
    if major < 11:
        words += ["--stronglyTyped", "--useCudaGraph", "--useSpinWait", "--noDataTransfers", "--separateProfileRun"]
    words += [f"--exportLayerInfo={plan}.layers.json", f"--exportProfile={plan}.profile.json", *_RUN]
    return shlex.join(words)


def _shape(network_input: TensorSpec, batch: int) -> str:
    sizes = "x".join(str(size) for size in (batch, *network_input.shape[1:]))
    return f"{network_input.name}:{sizes}"
