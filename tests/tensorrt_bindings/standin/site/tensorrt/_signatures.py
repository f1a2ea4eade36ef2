"""Signatures as pybind writes them, read and compared with the arguments of a call."""

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_MISSING = object()


@dataclass(frozen=True)
class Parameter:
    """One argument: its name, the word for its type, and the text of its default."""

    name: str
    word: str
    default: object = _MISSING

    @property
    def positional_only(self) -> bool:
        """pybind calls an argument that was given no name arg0, arg1, ...; it has no keyword."""
        return re.fullmatch(r"arg\d+", self.name) is not None


def _split(text: str) -> list[str]:
    parts, depth, begin = [], 0, 0
    for index, character in enumerate(text):
        depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(text[begin:index])
            begin = index + 1
    return [part.strip() for part in (*parts, text[begin:]) if part.strip()]


def parse(signature: str) -> tuple[Parameter, ...]:
    """Return the parameters after `self` of "(self: T, a: int = 0) -> R"."""
    inside = signature[1 : signature.rindex(")")] if "->" not in signature else signature[1 : signature.rindex(") ->")]
    parameters = []
    for part in _split(inside):
        declaration, _, default = part.partition(" = ")
        name, _, word = declaration.partition(": ")
        parameters.append(Parameter(name, word or "object", default if default else _MISSING))
    if parameters and parameters[0].name in ("self", "this"):
        del parameters[0]
    return tuple(parameters)


class Types:
    """What each type word accepts, given the classes and enumerations of this version."""

    def __init__(self, classes: dict[str, type]):
        self.classes = classes

    def accepts(self, word: str, value: object) -> bool:
        """Say whether pybind would convert `value`; where it would convert loosely (float to int) this refuses."""
        simple: dict[str, Callable[[Any], bool]] = {
            "int": _is_int,
            "float": lambda v: isinstance(v, float) or _is_int(v),
            "str": lambda v: isinstance(v, str),
            "bool": lambda v: isinstance(v, bool),
            "tuple": lambda v: isinstance(v, tuple),
            "list": lambda v: isinstance(v, list),
            "slice": lambda v: isinstance(v, slice),
            "object": lambda _: True,
            "capsule": lambda v: not isinstance(v, (int, str)),
            "buffer": _is_buffer,
        }
        if word in simple:
            return simple[word](value)
        if match := re.fullmatch(r"(?:list|collections\.abc\.Sequence)\[(.+)\]", word):
            allowed = (list, tuple) if "Sequence" in word else (list,)
            return isinstance(value, allowed) and all(self.accepts(match[1], item) for item in value)
        cls = self.resolve(word)
        if word == "Dims" and isinstance(value, (list, tuple)):
            return all(_is_int(item) for item in value)
        return cls is not None and isinstance(value, cls)

    def resolve(self, word: str) -> Any:
        """Return the class, enumeration or member that a dotted word names; None when there is none."""
        first, *rest = word.split(".")
        found: Any = self.classes["ILogger"].Severity if first == "Severity" else self.classes.get(first)  # type: ignore[attr-defined]
        for name in rest:
            found = getattr(found, name)
        return found

    def default(self, text: str) -> Any:
        """Return the value of a default's text."""
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return self.resolve(text)

    def bind(self, overload: Sequence[Parameter], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any] | None:
        """Return one value per parameter, or None when this overload does not take these arguments."""
        if len(args) > len(overload):
            return None
        left, values = dict(kwargs), list(args)
        for parameter in overload[len(args) :]:
            if parameter.name in left and not parameter.positional_only:
                values.append(left.pop(parameter.name))
            elif parameter.default is not _MISSING:
                values.append(self.default(str(parameter.default)))
            else:
                return None
        if left:
            return None
        for parameter, value in zip(overload, values, strict=True):
            optional = value is None and parameter.default == "None"
            if not optional and not self.accepts(parameter.word, value):
                return None
        return values


def _is_int(value: object) -> bool:
    # pybind takes an enumeration for an int as well; that is a mistake in every place where we could make it.
    return hasattr(value, "__index__") and not hasattr(value, "__members__")


def _is_buffer(value: object) -> bool:
    try:
        memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def mismatch(name: str, overloads: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> TypeError:
    """Return the error that pybind raises when no overload fits."""
    lines = [f"{name}(): incompatible function arguments. The following argument types are supported:"]
    lines += [f"    {index}. {signature}" for index, signature in enumerate(overloads, 1)]
    shown = [repr(value) for value in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
    return TypeError("\n".join([*lines, "", f"Invoked with: {', '.join(shown)}"]))
