"""Protocol buffers in text form, as `config.pbtxt` is written.

A message is its fields in order; a field that repeats is written once per value, which every parser of the
format takes. Source: the text format's specification, protobuf.dev/reference/protobuf/textformat-spec.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_INDENT = "  "
# What may stand in a quoted string as it is: printable ASCII but for the quote and the backslash.
_PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\')
_SHORT = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord('"'): '\\"', ord("\\"): "\\\\"}


@dataclass(frozen=True)
class Word:
    """The name of an enumeration's value, which stands without quotes."""

    name: str


@dataclass(frozen=True)
class Message:
    """A message: its fields with their values, in order."""

    fields: tuple[tuple[str, "Value"], ...] = ()


Value = bool | int | str | Word | Message


def write_message(message: Message) -> str:
    """Return a message in text form, one field per line.

    Raises:
        UnicodeEncodeError: A string holds half of a surrogate pair, which no protobuf string can.
    """
    return "".join(f"{line}\n" for line in _lines(message, 0))


def quote(text: str) -> str:
    r"""Return a string in quotes: its UTF-8 bytes, what is not plain ASCII as `\` and three octal digits.

    Three digits always, so that a digit which follows is no part of the escape.
    """
    return '"' + "".join(_escape(byte) for byte in text.encode("utf-8")) + '"'


def _escape(byte: int) -> str:
    if byte in _PLAIN:
        return chr(byte)
    return _SHORT.get(byte, f"\\{byte:03o}")


def _lines(message: Message, depth: int) -> Iterator[str]:
    for name, value in message.fields:
        if isinstance(value, Message):
            yield f"{_INDENT * depth}{name} {{"
            yield from _lines(value, depth + 1)
            yield f"{_INDENT * depth}}}"
        else:
            yield f"{_INDENT * depth}{name}: {_scalar(value)}"


def _scalar(value: bool | int | str | Word) -> str:
    if isinstance(value, Word):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else quote(value)
