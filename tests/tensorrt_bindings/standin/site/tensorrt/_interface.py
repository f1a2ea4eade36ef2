"""The classes and enumerations of one TensorRT version, made from its interface file.

A generated class holds nothing but a `_state`: a plain object of this package that does the work. A method or property
that the interface file lists and the state lacks raises NotImplementedError; one that the file does not list does not
exist.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from tensorrt._signatures import Types, mismatch, parse

VERSION = os.environ.get("STANDIN_TENSORRT", "10.16")
API: dict[str, Any] = json.loads((Path(__file__).parents[3] / "interfaces" / f"{VERSION}.json").read_text())
RTX = VERSION.startswith("rtx-")
# TensorRT for RTX 1.7 has the names and the inspector's words of TensorRT 11.
MAJOR = 11 if RTX else int(API["version"].split(".")[0])
# Classes whose methods TensorRT calls: Python derives from them and overrides.
TRAMPOLINES = ("ILogger", "Logger", "IProgressMonitor", "IProfiler", "IErrorRecorder")
_CLASSES: dict[str, Any] = {}
TYPES = Types(_CLASSES)


class State:
    """What stands behind a generated class; `interface` is that class's name."""

    interface = ""


class Enumeration:
    """An enumeration as pybind makes it: `int(x)`, `name`, `value`, equal only to its own kind."""

    __slots__ = ("_name", "_value")
    __members__: ClassVar[dict[str, "Enumeration"]] = {}

    def __init__(self, value: int):
        for member in type(self).__members__.values():
            if member._value == value:
                self._name = member._name
        self._value = int(value)

    @property
    def name(self) -> str:
        return self._name

    @property
    def value(self) -> int:
        return self._value

    def __int__(self) -> int:
        return self._value

    def __index__(self) -> int:
        return self._value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._value == self._value  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self._value)

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self._name}"

    def __repr__(self) -> str:
        return f"<{self}: {self._value}>"


def _make_enumeration(name: str, members: Mapping[str, int]) -> type:
    made = type(name, (Enumeration,), {"__slots__": (), "__members__": {}, "__module__": "tensorrt"})
    for member, value in sorted(members.items(), key=lambda item: item[1]):
        instance: Any = object.__new__(made)
        instance._name, instance._value = member, value
        made.__members__[member] = instance  # type: ignore[attr-defined]
        setattr(made, member, instance)
    return made


class _Meta(type):
    """pybind's check that a derived class called the constructor of its base."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        instance = super().__call__(*args, **kwargs)
        if not hasattr(instance, "_state"):
            base = next(base.__name__ for base in cls.__mro__ if base.__module__ == "tensorrt")
            raise TypeError(f"{base}.__init__() must be called when overriding __init__")
        return instance


def wrap(value: Any) -> Any:
    """Return what Python sees of a result: a generated object for a state, item by item for a list or tuple."""
    if isinstance(value, State):
        instance = object.__new__(_CLASSES[value.interface])
        instance._state = value
        return instance
    if isinstance(value, (list, tuple)):
        return type(value)(wrap(item) for item in value)
    return value


def unwrap(value: Any) -> Any:
    """Return the state of a generated object; what Python may derive from stays as it is, for its overrides."""
    if isinstance(value, TRAMPOLINE_TYPES):
        return value
    return value._state if isinstance(type(value), _Meta) else value


TRAMPOLINE_TYPES: tuple[type, ...] = ()


def enum(path: str) -> Any:
    """Return an enumeration or member of this version by its dotted name, such as "DataType.HALF"."""
    return TYPES.resolve(path)


def _method(cls: str, name: str, overloads: list[str]) -> Callable[..., Any]:
    parsed = [parse(overload) for overload in overloads]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        for overload in parsed:
            values = TYPES.bind(overload, args, kwargs)
            if values is not None:
                break
        else:
            raise mismatch(name, overloads, args, kwargs)
        work = getattr(self._state, name, None)
        if work is None:
            raise NotImplementedError(f"stand-in: {cls}.{name}")
        return wrap(work(*(unwrap(value) for value in values)))

    call.__name__ = name
    call.__qualname__ = f"{cls}.{name}"
    call.__doc__ = "\n".join(overloads)
    return call


def _property(cls: str, name: str, declaration: Mapping[str, Any]) -> property:
    word = declaration.get("set_type", declaration["type"])

    def read(self: Any) -> Any:
        if not hasattr(self._state, name):
            raise NotImplementedError(f"stand-in: {cls}.{name}")
        return wrap(getattr(self._state, name))

    def write(self: Any, value: Any) -> None:
        nullable = value is None and word in _CLASSES and not issubclass(_CLASSES[word], Enumeration)
        if not nullable and not TYPES.accepts(word, value):
            raise mismatch(name, [f"(self: {cls}, arg0: {word}) -> None"], (value,), {})
        if not hasattr(self._state, name):
            raise NotImplementedError(f"stand-in: {cls}.{name}")
        setattr(self._state, name, unwrap(value))

    return property(read, write if declaration["writable"] else None)


def _constructor(cls: str, overloads: list[str] | None, state: type[State] | None) -> Callable[..., None]:
    parsed = [parse(overload) for overload in overloads or ()]

    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        if overloads is None:
            raise TypeError(f"tensorrt.{cls}: No constructor defined!")
        values = next((v for o in parsed if (v := TYPES.bind(o, args, kwargs)) is not None), None)
        if values is None:
            raise mismatch("__init__", overloads, args, kwargs)
        if state is None:
            raise NotImplementedError(f"stand-in: {cls}")
        self._state = state(*(unwrap(value) for value in values))

    return construct


def _make_class(name: str, declaration: Mapping[str, Any], states: Mapping[str, type[State]]) -> type:
    bases = tuple(_CLASSES[base] for base in declaration["bases"] if base in _CLASSES) or (object,)
    state = states.get(name)
    body: dict[str, Any] = {
        "__module__": "tensorrt",
        "__slots__": () if bases != (object,) else ("_state", "__weakref__"),
    }
    for method, overloads in declaration["methods"].items():
        if method not in ("__init__", "__enter__", "__exit__"):
            body[method] = _method(name, method, overloads)
    for attribute, details in declaration["properties"].items():
        body[attribute] = _property(name, attribute, details)
    if "__enter__" in declaration["methods"]:
        body["__enter__"] = lambda self: self
        body["__exit__"] = lambda self, exc_type, exc_value, traceback: None  # noqa: ARG005
    body["__init__"] = _constructor(name, declaration["methods"].get("__init__"), state)
    for nested, members in declaration.get("enums", {}).items():
        inherited = next((getattr(base, nested) for base in bases if hasattr(base, nested)), None)
        body[nested] = inherited or _make_enumeration(nested, members)
    for constant, path in declaration.get("constants", {}).items():
        nested, member = path.split(".")
        body[constant] = getattr(body[nested], member)
    return _Meta(name, bases, body)


def build_namespace(states: Mapping[str, type[State]]) -> dict[str, Any]:
    """Return what `tensorrt` exports: enumerations, classes and functions of this version."""
    global TRAMPOLINE_TYPES
    for name, members in API["enums"].items():
        _CLASSES[name] = _make_enumeration(name, members)
    opaque = {"bases": [], "methods": {}, "properties": {}}
    for name in API["other_classes"]:
        _CLASSES[name] = _make_class(name, opaque, {})
    # A base comes before what derives from it.
    for name, declaration in sorted(API["classes"].items(), key=lambda item: len(item[1]["bases"])):
        special = states[name] if name in states and not issubclass(states[name], State) else None
        _CLASSES[name] = special or _make_class(name, declaration, states)
    TRAMPOLINE_TYPES = tuple(_CLASSES[name] for name in TRAMPOLINES)
    return {**_CLASSES, **{name: _FUNCTIONS[name] for name in API["functions"]}}


def _nptype(trt_type: Any) -> Any:
    import numpy as np

    kinds = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64}
    kinds |= {"BOOL": np.bool_, "UINT8": np.uint8}
    if trt_type.name not in kinds:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return kinds[trt_type.name]


def _volume(iterable: Any) -> int:
    product = 1
    for item in iterable:
        product *= item
    return product


def _parser_version() -> int:
    parts = [int(part) for part in API["version"].split(".")]
    return parts[0] * 10000 + parts[1] * 100 + parts[2]


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "nptype": _nptype,
    "volume": _volume,
    "get_nv_onnx_parser_version": _parser_version,
    "init_libnvinfer_plugins": lambda logger, namespace: True,  # noqa: ARG005
}
