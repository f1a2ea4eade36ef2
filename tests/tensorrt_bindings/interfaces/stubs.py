"""A type stub package of TensorRT, written from the interface files beside this module.

Nothing in it is `Any` and no class has `__getattr__`: a name that the version lacks is a type error.
"""

import json
import keyword
import re
from pathlib import Path
from typing import Any

from runtime.support.engine_names import PlanEngine

INTERFACES = Path(__file__).parent

# Words of pybind11's signatures, to types. A bare list or tuple is a shape: nothing else here is one.
WORDS = {
    "collections.abc.Sequence": "Sequence",
    "list": "list[int]",
    "tuple": "tuple[int, ...]",
    "slice": "slice[int | None, int | None, int | None]",
    # pybind11 takes a capsule or any object of a bound class for a bare pointer.
    "capsule": "object",
    "Severity": "ILogger.Severity",
    # The bindings' own slip: the class is called Builder in Python.
    "IBuilder": "Builder",
}
PLAIN = {"int", "str", "bool", "float", "None", "object", "ILogger.Severity"}

# Results that are None where TensorRT fails, or has nothing: the signatures do not say so.
# Source: NVIDIA's documentation of each ("or None", "nullptr if").
NONE_RESULTS = {
    ("Builder", "build_serialized_network"),
    ("Builder", "build_engine_with_config"),
    ("Runtime", "deserialize_cuda_engine"),
    ("ICudaEngine", "create_execution_context"),
    ("IBuilderConfig", "get_timing_cache"),
}
# TensorRT calls these classes' methods; a subclass has to have them all.
CALLBACKS = {"ILogger", "IProfiler", "IProgressMonitor"}
# A pybind11 class without a constructor raises TypeError when it is called.
NO_CONSTRUCTOR = "def __init__(self, no_constructor: Never, /) -> None: ..."

HEADER = """\
import abc
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, overload

import numpy as np
from typing_extensions import Buffer, Never, Self

__version__: str
"""
# Written by NVIDIA in Python, without types; or a tuple that is no shape, by the signature's words.
UNTYPED = {
    "__enter__": "def __enter__(self) -> Self: ...",
    "__exit__": "def __exit__(self, exc_type: object, exc_value: object, traceback: object, /) -> None: ...",
    "nptype": "def nptype(trt_type: DataType) -> type[np.generic]: ...",
    "get_engine_validity": "def get_engine_validity(self, buffer: Buffer) -> tuple[EngineValidity, int]: ...",
    "volume": "def volume(iterable: Iterable[int]) -> int: ...",
}
# What a pybind11 enum has. It cannot be iterated over, and is equal to no integer.
ENUM_BODY = """\
def __init__(self, value: int) -> None: ...
def __int__(self) -> int: ...
def __index__(self) -> int: ...
@property
def name(self) -> str: ...
@property
def value(self) -> int: ..."""


def versions() -> list[str]:
    """Return the versions that there is an interface file of, oldest first; TensorRT for RTX's begin with `rtx-`."""
    return sorted((path.stem for path in INTERFACES.glob("*.json")), key=release)


def release(version: str) -> tuple[PlanEngine, tuple[int, ...]]:
    """Return which library an interface file's name means, and its version."""
    library, _, number = version.rpartition("-")
    return ("tensorrt-rtx" if library else "tensorrt"), tuple(int(part) for part in number.split("."))


def write_stub(version: str, folder: Path) -> None:
    """Write `folder/tensorrt`, the stub package of one version.

    Args:
        version: An interface file's name without its ending, such as `10.3`.
        folder: Folder for the stubs; mypy looks for packages in it.

    Raises:
        ValueError: The interface file has a word or a signature that is not understood.
    """
    interface = json.loads((INTERFACES / f"{version}.json").read_text(encoding="utf-8"))
    package = folder / "tensorrt"
    package.mkdir(parents=True, exist_ok=True)
    (package / "py.typed").touch()
    (package / "__init__.pyi").write_text(_Stub(interface).text(), encoding="utf-8")


class _Stub:
    """One version's stub."""

    def __init__(self, interface: dict[str, Any]) -> None:
        self._interface = interface
        self._names = {*interface["classes"], *interface["other_classes"], *interface["enums"]}

    def text(self) -> str:
        """Return the stub's text."""
        parts = [HEADER]
        parts += [_enum(name, members, name) for name, members in self._interface["enums"].items()]
        parts += [f"class {name}: ..." for name in self._interface["other_classes"]]
        parts += [self._class(name, content) for name, content in self._interface["classes"].items()]
        parts += [self._function(None, name, each) for name, each in self._interface["functions"].items()]
        return "\n".join(parts) + "\n"

    def _class(self, name: str, content: dict[str, Any]) -> str:
        bases = list(content["bases"]) + ["metaclass=abc.ABCMeta"] * (name in CALLBACKS)
        methods = content["methods"]
        body = []
        # A subclass's nested enum is its base's: the bindings only name it again.
        if not content["bases"]:
            body += [_enum(each, members, f"{name}.{each}") for each, members in content.get("enums", {}).items()]
            body += [f"{each}: ClassVar[{value.split('.')[0]}]" for each, value in content.get("constants", {}).items()]
        body += [self._property(each, how) for each, how in content["properties"].items()]
        body += [self._function(name, each, overloads) for each, overloads in methods.items()]
        if "__init__" not in methods:
            body.append(NO_CONSTRUCTOR)
        if {"__getitem__", "__len__"} <= set(methods):
            # By `__getitem__` alone, which Python iterates over and a type checker does not.
            body.append(f"def __iter__(self) -> Iterator[{self._item(methods['__getitem__'])}]: ...")
        if name == "IHostMemory":
            # By pybind11's buffer protocol, which signatures do not show.
            body.append("def __buffer__(self, flags: int, /) -> memoryview: ...")
        return f"class {name}({', '.join(bases)}):\n" + _indented("\n".join(body))

    def _item(self, signatures: list[str]) -> str:
        (item,) = {each.split(" -> ")[1] for each in signatures if "arg0: int" in each}
        return self._type(item, taken=False)

    def _property(self, name: str, how: dict[str, Any]) -> str:
        lines = ["@property", f"def {name}(self) -> {self._type(how['type'], taken=False)}: ..."]
        if how["writable"]:
            taken = self._type(how.get("set_type", how["type"]), taken=True)
            lines += [f"@{name}.setter", f"def {name}(self, value: {taken}, /) -> None: ..."]
        return "\n".join(lines)

    def _function(self, owner: str | None, name: str, signatures: list[str]) -> str:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(f"{owner}.{name} is no name of Python's")
        if name in UNTYPED:
            return UNTYPED[name]
        if name == "__eq__":
            # Its overloads narrow what `object` takes, which types do not allow.
            return "def __eq__(self, other: object, /) -> bool: ..."
        marks = ["@overload"] * (len(signatures) > 1) + ["@abc.abstractmethod"] * (
            owner in CALLBACKS and not name.startswith("__")
        )
        return "\n".join("\n".join([*marks, self._signature(owner, name, each)]) for each in signatures)

    def _signature(self, owner: str | None, name: str, signature: str) -> str:
        found = re.fullmatch(r"\((.*)\) -> (.+)", signature)
        if found is None:
            raise ValueError(f"{owner}.{name} has the signature {signature!r}, expected (name: type, ...) -> type")
        parameters = [self._parameter(each) for each in _split(found[1])]
        if owner is not None:
            parameters[0] = "self"
        if re.match(r"arg\d+:", parameters[-1] if parameters else ""):
            parameters.append("/")
        result = self._type(found[2], taken=False) + " | None" * ((owner, name) in NONE_RESULTS)
        return f"def {name}({', '.join(parameters)}) -> {result}: ..."

    def _parameter(self, text: str) -> str:
        found = re.fullmatch(r"(\w+): ([^=]+?)( = .+)?", text)
        if found is None:
            raise ValueError(f"{text!r} is not a parameter of the form name: type = default")
        default = found[3] or ""
        optional = " | None" if default == " = None" else ""
        return f"{found[1]}: {self._type(found[2], taken=True)}{optional}" + (" = ..." if default else "")

    def _type(self, text: str, *, taken: bool) -> str:
        """Return a signature's type as an annotation; `taken` for what a function takes, not returns."""
        return re.sub(r"[A-Za-z_][\w.]*\[?", lambda found: self._word(found[0], taken=taken), text)

    def _word(self, word: str, *, taken: bool) -> str:
        if word in {"list[", "collections.abc.Sequence["}:
            # std::vector: any sequence is taken, and a list is returned.
            return "Sequence[" if taken else "list["
        if word == "tuple[":
            return word
        if word == "buffer":
            return "Buffer" if taken else "memoryview"
        if word == "Dims" and taken:
            # Implicit conversion of pybind11's.
            return "Dims | Sequence[int]"
        if word in WORDS:
            return WORDS[word]
        if word in PLAIN or word in self._names:
            return word
        raise ValueError(f"the interface file has the type {word!r}, which it does not list")


def _enum(name: str, members: dict[str, int], qualified: str) -> str:
    lines = [f"{member}: ClassVar[{qualified}]" for member in members]
    lines.append(f"__members__: ClassVar[dict[str, {qualified}]]")
    return f"class {name}:\n" + _indented("\n".join(lines) + "\n" + ENUM_BODY)


def _split(parameters: str) -> list[str]:
    """Return the parts between the commas that are outside brackets."""
    return [part for part in re.split(r", (?![^\[]*\])", parameters) if part]


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines()).rstrip("\n")
