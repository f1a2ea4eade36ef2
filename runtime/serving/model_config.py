"""Triton's model configuration, `config.pbtxt`: the part of its schema that a bundle needs.

Source: message ModelConfig of triton-inference-server/common protobuf/model_config.proto at 83adf7c.
"""

from dataclasses import dataclass
from typing import Literal

from runtime.serving.pbtxt import Message, Value, Word, write_message

Kind = Literal["KIND_CPU", "KIND_GPU", "KIND_AUTO"]
Keep = Literal["latest", "all"]
DataType = Literal["TYPE_UINT8", "TYPE_FP32"]


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: Name of the tensor in the graph.
        data_type: Triton's name of its dtype.
        dims: Shape of the tensor, without the batch where `max_batch_size` is not 0; -1 is any length.
        labels: File beside the configuration with one class per line; empty for none.
    """

    name: str
    data_type: DataType
    dims: tuple[int, ...]
    labels: str = ""


@dataclass(frozen=True)
class WarmUp:
    """An inference that every instance makes before it takes requests.

    Triton makes one request of batch 1 from the file for each of `batch_size`, and runs them together: the file
    holds one picture. Source: core src/backend_model_instance.cc GenerateWarmupData at 73aad7c.

    Attributes:
        name: Shown in Triton's log.
        batch_size: Pictures in the batch.
        tensor: The input; all of its dims are known.
        file: File in `warmup/` with the input's raw bytes.
    """

    name: str
    batch_size: int
    tensor: Tensor
    file: str


@dataclass(frozen=True)
class ModelConfig:
    """All of a `config.pbtxt`.

    Attributes:
        name: The model's name, which is its folder's too.
        backend: Triton's name of it.
        max_batch_size: Largest batch that Triton makes; 0: a request has the batch dimension itself.
        inputs: Inputs.
        outputs: Outputs.
        kind: Where instances run.
        instances: How many there are, per device.
        preferred_batch: Batches that are sent without waiting; empty leaves it to Triton.
        max_queue_delay_us: How long a request may wait for others, microseconds.
        keep: Whether the latest version is served, or all.
        parameters: What the backend reads, and what a client may want to know.
        warm_up: Inferences before the first request.
    """

    name: str
    backend: str
    max_batch_size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    kind: Kind
    instances: int
    preferred_batch: tuple[int, ...]
    max_queue_delay_us: int
    keep: Keep
    parameters: tuple[tuple[str, str], ...]
    warm_up: tuple[WarmUp, ...]

    def to_text(self) -> str:
        """Return the file's content."""
        return write_message(Message(tuple(self._fields())))

    def _fields(self) -> list[tuple[str, Value]]:
        policy = Message((("num_versions", 1),)) if self.keep == "latest" else Message()
        group = Message((("count", self.instances), ("kind", Word(self.kind))))
        fields: list[tuple[str, Value]] = [
            ("name", self.name),
            ("backend", self.backend),
            ("max_batch_size", self.max_batch_size),
            *(("input", _tensor(tensor)) for tensor in self.inputs),
            *(("output", _tensor(tensor)) for tensor in self.outputs),
            ("instance_group", group),
            ("version_policy", Message(((self.keep, policy),))),
        ]
        if self.max_batch_size:
            fields.append(("dynamic_batching", self._batching()))
        for key, text in self.parameters:
            value = Message((("string_value", text),))
            fields.append(("parameters", Message((("key", key), ("value", value)))))
        return [*fields, *(("model_warmup", _warm_up(sample)) for sample in self.warm_up)]

    def _batching(self) -> Message:
        preferred: list[tuple[str, Value]] = [("preferred_batch_size", size) for size in self.preferred_batch]
        return Message((*preferred, ("max_queue_delay_microseconds", self.max_queue_delay_us)))


def _tensor(tensor: Tensor) -> Message:
    fields: list[tuple[str, Value]] = [("name", tensor.name), *_form(tensor)]
    if tensor.labels:
        fields.append(("label_filename", tensor.labels))
    return Message(tuple(fields))


def _warm_up(sample: WarmUp) -> Message:
    value = Message((*_form(sample.tensor), ("input_data_file", sample.file)))
    entry = Message((("key", sample.tensor.name), ("value", value)))
    return Message((("name", sample.name), ("batch_size", sample.batch_size), ("inputs", entry)))


def _form(tensor: Tensor) -> tuple[tuple[str, Value], ...]:
    dims: tuple[tuple[str, Value], ...] = tuple(("dims", size) for size in tensor.dims)
    return (("data_type", Word(tensor.data_type)), *dims)
