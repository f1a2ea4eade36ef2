"""ONNX to a strongly typed TensorRT network, with every fault of the graph told at once."""

from typing import TYPE_CHECKING

from runtime.engines.trt.library import TENSORRT, Library
from runtime.errors import EngineError
from runtime.support.words import counted, first_few

if TYPE_CHECKING:
    import tensorrt as trt

# A graph that one operator spoils can have as many faults as nodes; these say enough.
_TOLD = 20


def strongly_typed_flags(library: Library = TENSORRT) -> int:
    """Return the creation flags of a strongly typed network.

    TensorRT 11 and TensorRT for RTX ignore them: their networks always are.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def parse_onnx(
    builder: "trt.Builder", logger: "trt.ILogger", model: bytes, *, name: str, library: Library = TENSORRT
) -> "tuple[trt.INetworkDefinition, trt.OnnxParser]":
    """Return the network of a graph, and its parser, which owns the network's weights and must outlive it.

    Args:
        builder: The builder that the network is for.
        logger: TensorRT's logger.
        model: The serialised graph.
        name: The file's name, for the message.
        library: The library of the builder and the logger.

    Raises:
        EngineError: The library cannot take the graph; every fault with node, operator and reason.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    network = builder.create_network(strongly_typed_flags(library))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        faults = [_describe(parser.get_error(index)) for index in range(parser.num_errors)]
        raise EngineError(explain_faults(faults, name=name, label=library.label))
    return network, parser


def explain_faults(faults: list[str], *, name: str, label: str = TENSORRT.label) -> str:
    """Return the parser's faults as one line."""
    if not faults:
        return f"{label} cannot parse {name} and gives no reason: see its log with --verbose"
    told = first_few(faults, shown=_TOLD, separator="; ")
    return f"{label} cannot parse {name}, {counted(len(faults), 'fault')}: {told}"


def _describe(error: "trt.ParserError") -> str:
    """Return one fault as `node 3 'conv1' (Conv): reason [code]`."""
    where = f"node {error.node()} {error.node_name()!r} ({error.node_operator()})" if error.node() >= 0 else "the graph"
    stack = [function for function in error.local_function_stack() if function]
    inside = f" in function {' > '.join(stack)}" if stack else ""
    return f"{where}{inside}: {' '.join(error.desc().split())} [{error.code().name}]"
