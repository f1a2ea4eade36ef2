"""What TensorRT for RTX has at run time: a configuration, and a cache of the kernels that contexts compile.

Kernels are names here, one for any batch and one for each batch that came: what a cache holds shows what was compiled.
"""

import json
from dataclasses import dataclass
from typing import Any

from cuda.bindings._machine import MACHINE, CudaFault

from tensorrt._interface import API, State, enum
from tensorrt._values import HostMemory

_ANY = "any batch"


class RuntimeCacheState(State):
    """IRuntimeCache: takes what the same version made for the same GPU and driver, and nothing else."""

    interface = "IRuntimeCache"

    def __init__(self) -> None:
        self.kernels: set[str] = set()

    def serialize(self) -> HostMemory:
        return HostMemory(json.dumps({**_environment(), "kernels": sorted(self.kernels)}).encode())

    def deserialize(self, blob: Any) -> bool:
        try:
            found = json.loads(bytes(blob))
            kernels = set(found.pop("kernels"))
            here = _environment()
        except (ValueError, KeyError, AttributeError, CudaFault):
            return False
        if found != here:
            return False
        self.kernels |= kernels
        return True

    def reset(self) -> bool:
        self.kernels.clear()
        return True


def _environment() -> dict[str, Any]:
    gpu = MACHINE.device()
    return {"version": API["version"], "gpu": gpu.name, "driver": gpu.driver}


@dataclass(frozen=True)
class Compiler:
    """When a context compiles, and where to.

    Attributes:
        strategy: A member of `DynamicShapesKernelSpecializationStrategy`, by name.
        graphs: A member of `CudaGraphStrategy`, by name.
        cache: Where the kernels go; None for nowhere.
    """

    strategy: str
    graphs: str
    cache: RuntimeCacheState | None

    def ran(self, batch: int) -> None:
        """Compile what a batch asks for."""
        if self.cache is not None:
            self.cache.kernels |= {_ANY} if self.strategy == "NONE" else {_ANY, f"batch {batch}, {self.strategy}"}
            self.cache.kernels |= {f"graph of batch {batch}"} if self.graphs == "WHOLE_GRAPH_CAPTURE" else set()


class RuntimeConfigState(State):
    """IRuntimeConfig with the defaults of TensorRT for RTX."""

    interface = "IRuntimeConfig"

    def __init__(self) -> None:
        self.cuda_graph_strategy = enum("CudaGraphStrategy.DISABLED")
        self.dynamic_shapes_kernel_specialization_strategy = enum("DynamicShapesKernelSpecializationStrategy.LAZY")
        self._allocation = enum("ExecutionContextAllocationStrategy.STATIC")
        self._cache: RuntimeCacheState | None = None

    def get_execution_context_allocation_strategy(self) -> Any:
        return self._allocation

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self._allocation = strategy

    def create_runtime_cache(self) -> RuntimeCacheState:
        return RuntimeCacheState()

    def set_runtime_cache(self, cache: RuntimeCacheState | None = None) -> bool:
        self._cache = cache
        return True

    def get_runtime_cache(self) -> RuntimeCacheState | None:
        return self._cache

    def compiler(self) -> Compiler:
        """Return what a context that is made now compiles by."""
        strategy = self.dynamic_shapes_kernel_specialization_strategy.name
        return Compiler(strategy, self.cuda_graph_strategy.name, self._cache)


STATES: dict[str, type[State]] = {state.interface: state for state in (RuntimeConfigState, RuntimeCacheState)}
