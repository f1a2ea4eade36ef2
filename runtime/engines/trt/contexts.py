"""A loaded plan's execution contexts, as its library makes them.

TensorRT's have nothing to choose but whose memory they use. TensorRT for RTX compiles kernels when contexts are made
and run: a runtime configuration says when, keeps them in a runtime cache, and has CUDA graphs recorded by the library.
A graph recorded by us would go on with the kernels of that moment, while better ones are compiled behind it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.engines.contract import Specialisation
from runtime.engines.trt.library import Library
from runtime.engines.trt.versions import Features

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True)
class Contexts:
    """How the contexts of a plan are made, by any thread. Their scratch memory is the caller's.

    Attributes:
        make: Returns a context, or None where the library makes none. Its argument says whether every inference of it
            has the addresses of the first, so that a CUDA graph is worth recording.
        records_graphs: Whether the library records CUDA graphs itself, so that nobody else should.
        compiled: Returns the kernels that were compiled so far, or taken; None where the library compiles none.
        took_kernels: Whether the kernels that were given were taken.
    """

    make: Callable[[bool], "trt.IExecutionContext | None"]
    records_graphs: bool = False
    compiled: Callable[[], bytes | None] = lambda: None
    took_kernels: bool = False


def open_contexts(
    engine: "trt.ICudaEngine",
    library: Library,
    features: Features,
    *,
    specialisation: Specialisation = "lazy",
    kernels: bytes | None = None,
) -> Contexts:
    """Return how the contexts of a plan are made.

    Args:
        engine: The plan.
        library: The library of the plan.
        features: What the library's version has.
        specialisation: When kernels are compiled for the batch sizes that come.
        kernels: What `Contexts.compiled` returned in another process; None for none. A CUDA context is current: the
            library compares the machine with the one where they were compiled.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    if features.HAS_RUNTIME_CONFIG:
        strategies = {
            "lazy": trt.DynamicShapesKernelSpecializationStrategy.LAZY,
            "eager": trt.DynamicShapesKernelSpecializationStrategy.EAGER,
            "none": trt.DynamicShapesKernelSpecializationStrategy.NONE,
        }
        cache = engine.create_runtime_config().create_runtime_cache()
        took = kernels is not None and cache.deserialize(kernels)
        configs: dict[bool, trt.IRuntimeConfig] = {}
        for fixed in (False, True):
            config = configs[fixed] = engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
            config.dynamic_shapes_kernel_specialization_strategy = strategies[specialisation]
            config.cuda_graph_strategy = (
                trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE if fixed else trt.CudaGraphStrategy.DISABLED
            )
            config.set_runtime_cache(cache)
        # That a cache and a configuration may be used by two threads at once is documented nowhere.
        lock = threading.Lock()

        def make(fixed_addresses: bool) -> "trt.IExecutionContext | None":
            with lock:
                return engine.create_execution_context(configs[fixed_addresses])

        return Contexts(
            make, records_graphs=True, compiled=lambda: bytes(memoryview(cache.serialize())), took_kernels=took
        )

    return Contexts(lambda _: engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED))
