"""The PyTorch engine: the original of a bundle, which the other engines are compared with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.bundle.bundle import Bundle
from runtime.engines.contract import EngineBase, ExecutionPrecision, Outputs, checked_outputs
from runtime.errors import EngineError
from runtime.support.arrays import Pixels

if TYPE_CHECKING:
    import torch

NAME = "pytorch"


class PyTorchEngine(EngineBase):
    """The network that the bundle was exported from, in eager PyTorch."""

    name = NAME

    def __init__(
        self,
        bundle: Bundle,
        *,
        weights: Path | None = None,
        threads: int | None = None,
        device: str = "cpu",
        precision: ExecutionPrecision = "fp32",
    ) -> None:
        """Load the original.

        Args:
            bundle: An opened bundle.
            weights: Checkpoint of the original; None looks for the one that the manifest names.
            threads: Threads for one inference, for the whole process; None leaves PyTorch's choice.
            device: `cpu` or `cuda`.
            precision: `fp32`, `fp16` (the network in FP16, its input and outputs float32),
                or `bf16` (autocast).

        Raises:
            EngineError: PyTorch or timm is not installed, or there is no such device.
            CheckpointError: The checkpoint is absent or not the one named in the manifest.
        """
        super().__init__(bundle.manifest)
        pytorch = _import_torch()
        from runtime.original.load_original import load_original
        from runtime.original.network import wrap, wrap_fp16

        if threads is not None:
            pytorch.set_num_threads(threads)
        network = load_original(bundle, weights=weights)
        if precision == "fp16":
            module = wrap_fp16(network, bundle.manifest.preprocessing)
        else:
            module = wrap(network, bundle.manifest.preprocessing, input_kind="uint8")
        try:
            self._module: torch.nn.Module | None = module.to(device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).strip().splitlines()[0]
            raise EngineError(
                f"PyTorch cannot use device {device}: {reason}; expected cpu or a working cuda"
            ) from error
        self.network = network
        self.precision = precision
        self.runs_on_gpu = device.startswith("cuda")
        self._device = device

    def infer(self, pixels: Pixels) -> Outputs:
        """Run one batch; see `runtime.engines.contract.Engine.infer`."""
        import torch

        # Taken once: another thread may close the engine meanwhile.
        module = self._module
        if module is None:
            raise EngineError("the PyTorch engine is closed: open it again with load_engine")
        self.check_pixels(pixels)
        # PyTorch takes no negative strides, and warns of read-only memory; copied where that is needed.
        feed = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).to(self._device)
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=self.precision == "bf16"):
            outputs = module(feed)
        arrays = [output.float().cpu().numpy() for output in outputs]
        return checked_outputs(arrays, self.manifest, images=len(pixels))

    def close(self) -> None:
        """Free the network."""
        self._module = None


def _import_torch() -> Any:
    try:
        import timm  # noqa: F401 - the network is built by timm; say so before half the work is done
        import torch
    except ImportError as error:
        raise EngineError(
            f"the PyTorch original needs torch and timm ({error}): pip install 'export-ssl[export]'"
        ) from error
    return torch
