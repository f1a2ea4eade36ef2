"""Run a graph part by part, each part from where the parts before it ended.

Rules:

1. A part is what some wanted tensors need of the graph and no earlier part has run.
2. Behind a part, what later parts read of it is kept: every tensor that a node reads which is still to be run, and
   every tensor that a later part wants. In a ResNet that is a block's input and the last thing in its branch.
3. What is kept stands in files, batch by batch, in the folder of temporary files, and goes once the next part has
   read it. So every node runs once for each batch, and memory holds one batch and the weights of one part.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from calibration.graph.run import extract, open_session
from calibration.graph.without_weights import NO_WEIGHTS, Weights
from runtime.errors import CalibrationError
from runtime.support.arrays import Feed
from runtime.support.memory import free_memory
from runtime.support.temporary import temporary_folder

Values = Mapping[str, npt.NDArray[np.generic]]


def run_in_parts(
    model: onnx.ModelProto,
    parts: Sequence[Sequence[str]],
    batches: Iterable[Feed],
    *,
    weights: Weights = NO_WEIGHTS,
    threads: int | None = None,
) -> Generator[Iterator[Values], None, None]:
    """Yield for each part an iterator over the batches, which gives the part's tensors by name.

    The iterator of a part is to be read to its end before the next part is asked for.

    Args:
        model: A graph with one input; not changed.
        parts: Names of the tensors that each part gives, in graph order.
        batches: The graph's input, read once.
        weights: Large constants that stand outside the graph, by name.
        threads: Threads of onnxruntime; None leaves its choice.

    Raises:
        CalibrationError: The folder of temporary files cannot take what a part leaves.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    (source,) = (value.name for value in model.graph.input if value.name not in constants)
    with temporary_folder() as folder:
        feeds: Iterable[Values] = ({source: batch} for batch in batches)
        done: set[str] = {source}
        for number, wanted in enumerate(parts):
            done |= _needed(model, wanted, done)
            later = {name for part in parts[number + 1 :] for name in part}
            run = _Part(model, wanted, _kept(model, later, done), folder / str(number))
            yield run.values(feeds, weights, threads)
            feeds = run.kept()


class _Part:
    """One part: gives its tensors, and keeps what later parts read."""

    def __init__(self, model: onnx.ModelProto, wanted: Sequence[str], kept: Sequence[str], folder: Path) -> None:
        self._model, self._wanted, self._names, self._folder = model, wanted, kept, folder
        self._batches = 0

    def values(self, feeds: Iterable[Values], weights: Weights, threads: int | None) -> Iterator[Values]:
        """Yield the wanted tensors of every batch, by name."""
        self._folder.mkdir()
        run = None
        for feed in feeds:
            outputs = sorted({*self._wanted, *self._names}.difference(feed))
            if run is None and outputs:
                run = open_session(extract(_begun_at(self._model, feed), outputs), weights=weights, threads=threads)
            read = [value.name for value in run.get_inputs()] if run else []
            found = dict(feed)
            if run:
                found |= zip(outputs, run.run(outputs, {name: feed[name] for name in read}), strict=True)
            for name in self._names:
                _write(self._file(name, self._batches), found[name])
            self._batches += 1
            yield {name: found[name] for name in self._wanted}
        # The session has the part's weights up to here.
        del run
        free_memory()

    def kept(self) -> Iterator[Values]:
        """Yield what was kept of every batch, by name, and remove it."""
        for batch in range(self._batches):
            yield {name: np.load(self._file(name, batch), allow_pickle=False) for name in self._names}
            for name in self._names:
                self._file(name, batch).unlink()

    def _file(self, name: str, batch: int) -> Path:
        # Tensors have any names; their places are file names.
        return self._folder / f"{batch}-{self._names.index(name)}.npy"


def _write(file: Path, values: npt.NDArray[np.generic]) -> None:
    contents = BytesIO()
    np.save(contents, values, allow_pickle=False)
    try:
        # NumPy writes to a file by itself, and does not say why a disk cannot take it.
        file.write_bytes(contents.getbuffer())
    except OSError as error:
        raise CalibrationError(
            f"cannot write {file} ({error.strerror}): free some space there, or set TMPDIR to a folder with more"
        ) from error


def _needed(model: onnx.ModelProto, wanted: Iterable[str], given: set[str]) -> set[str]:
    """Return the outputs of all nodes that `wanted` need, `given` being there."""
    open_names, found = set(wanted) - given, set[str]()
    for node in reversed(model.graph.node):
        if open_names.intersection(node.output):
            open_names.update(set(node.input) - given)
            found.update(node.output)
    return found


def _kept(model: onnx.ModelProto, later: set[str], done: set[str]) -> list[str]:
    """Return what later parts read of what is done; rule 2."""
    still = _needed(model, later, done)
    read = {name for node in model.graph.node if still.intersection(node.output) for name in node.input}
    return sorted((read | later) & done)


def _begun_at(model: onnx.ModelProto, feed: Values) -> onnx.ModelProto:
    """Return a graph that begins at the tensors of `feed`, of any number of images; it shares nothing that changes."""
    graph = onnx.GraphProto(name=model.graph.name)
    for name, values in feed.items():
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        shape = ("N", *values.shape[1:]) if values.ndim else ()
        graph.input.append(helper.make_tensor_value_info(name, kind, shape))
    graph.node.extend(node for node in model.graph.node if not set(node.output).intersection(feed))
    graph.initializer.extend(model.graph.initializer)
    return onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=graph)
