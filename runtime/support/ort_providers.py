"""onnxruntime's execution providers: our word for each, onnxruntime's names for it, and their settings.

Another provider is another row. Nothing is imported here, so that the help of the command line can list them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provider:
    """One execution provider.

    Attributes:
        name: Our word, as in `onnxruntime:cuda`.
        chain: onnxruntime's name, then the names of those that it falls back to by itself, and here may not.
        device: `cpu` or `gpu`; its own name where the same device gives other numbers in it.
        switches: Options that allow a precision, each with the word in a manifest's precision that turns it on.
        subgraph: How the name of a kernel begins in onnxruntime's profile where it makes one of a whole subgraph; ''
            where each node has its own.
    """

    name: str
    chain: tuple[str, ...]
    device: str
    switches: tuple[tuple[str, str], ...] = ()
    subgraph: str = ""

    @property
    def gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self.device != "cpu"


PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider("cpu", ("CPUExecutionProvider",), "cpu"),
        Provider("cuda", ("CUDAExecutionProvider",), "gpu"),
        Provider(
            "tensorrt",
            ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
            "tensorrt",
            # In its networks FP16 and INT8 are allowed by flags.
            switches=(("trt_fp16_enable", "fp16"), ("trt_int8_enable", "int8")),
            subgraph="TRTKernel",
        ),
    )
}
