"""Print the interface of the installed TensorRT bindings as JSON, in the layout of tests/tensorrt_bindings/interfaces.

Run by tests/tensorrt_bindings/test_real_bindings.py in a process of its own: two versions of the bindings cannot live
in one.
"""

import inspect
import json
import re
from typing import Any

# pybind11 names a class by its module, by its C++ name where it was not known yet, and by a protocol where it
# converts; typing's generics are from pybind11 before 2.12.
SPELLINGS = {
    r"\b(\w+::)+": "",
    r"\btensorrt(_rtx)?_bindings\.tensorrt(_rtx)?\.": "",
    r"\bIParserError\b": "ParserError",
    r"\btyping\.SupportsInt\b": "int",
    r"\btyping\.SupportsFloat\b": "float",
    r"\btyping_extensions\.Buffer\b": "buffer",
    r"\btyping_extensions\.CapsuleType\b": "capsule",
    r"\bList\b": "list",
    r"\bTuple\b": "tuple",
    r"<([\w.]+): -?\d+>": r"\1",  # an enum's member as a default
}


def normalise(text: str) -> str:
    """Return a signature or a type as tests/tensorrt_bindings/interfaces spells it."""
    for pattern, spelling in SPELLINGS.items():
        text = re.sub(pattern, spelling, text)
    return text.strip()


def is_enum(member: object) -> bool:
    return isinstance(member, type) and hasattr(member, "__members__")


def enum_values(enum: Any) -> dict[str, int]:
    return {name: int(member) for name, member in enum.__members__.items()}


def signatures(function: Any, name: str) -> list[str]:
    """Return one signature for each overload, as pybind11 or Python states it; [] where neither does."""
    if inspect.isfunction(function):
        return [str(inspect.signature(function))]
    stated = re.findall(rf"^(?:\d+\. )?{name}(\(.*\) -> .*)$", function.__doc__ or "", re.MULTILINE)
    return [normalise(signature) for signature in stated]


def describe_property(member: property) -> dict[str, Any]:
    """Return what the getter's and the setter's docstrings state; None for a type of one that is not there."""
    getter = re.search(r"-> (.*)", (member.fget and member.fget.__doc__) or "")
    setter = re.search(r", arg[01]: (.*)\) -> ", (member.fset and member.fset.__doc__) or "")
    return {
        "type": normalise(getter[1]) if getter else None,
        "set_type": normalise(setter[1]) if setter else None,
        "writable": member.fset is not None,
    }


def describe_class(cls: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"methods": {}, "properties": {}, "enums": {}, "constants": {}}
    described["bases"] = [base.__name__ for base in cls.__bases__ if base.__name__ != "pybind11_object"]
    for name, member in vars(cls).items():
        if is_enum(member):
            described["enums"][name] = enum_values(member)
        elif is_enum(type(member)):
            described["constants"][name] = f"{type(member).__name__}.{member.name}"
        elif isinstance(member, property):
            described["properties"][name] = describe_property(member)
        elif callable(member):
            described["methods"][name] = signatures(member, name)
    return described


def main() -> None:
    import tensorrt

    interface: dict[str, Any] = {"version": tensorrt.__version__, "enums": {}, "classes": {}, "functions": {}}
    for name, member in vars(tensorrt).items():
        if is_enum(member):
            interface["enums"][name] = enum_values(member)
        elif isinstance(member, type):
            interface["classes"][name] = describe_class(member)
        elif callable(member):
            interface["functions"][name] = signatures(member, name)
    print(json.dumps(interface))


if __name__ == "__main__":
    main()
