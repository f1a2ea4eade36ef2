"""Docstrings in Google form, taken apart."""

import inspect
import re
from dataclasses import dataclass, field

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Source):(.*)$")
_ENTRY = re.compile(r"^ {4}(\w[\w.]*): (.*)$")


@dataclass
class Docstring:
    """A docstring's parts.

    Attributes:
        prose: What stands before the sections, and between them.
        entries: Name to text, for `Args`, `Attributes` and `Raises`.
        texts: Text of `Returns`, `Yields` and `Source`.
    """

    prose: str = ""
    entries: dict[str, dict[str, str]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def parse(text: str | None) -> Docstring:
    """Return the parts of a docstring; all of them empty where there is none."""
    found, before = Docstring(), list[str]()
    section, entry = "", ""
    for line in inspect.cleandoc(text or "").splitlines():
        head = _SECTION.match(line)
        if head is not None:
            section, entry = head[1], ""
            found.texts[section] = head[2].strip()
        elif section not in ("", "Source") and line and not line.startswith("    "):
            section = ""
            before.append(line)
        elif not section:
            before.append(line)
        elif named := _ENTRY.match(line) if section in ("Args", "Attributes", "Raises") else None:
            entry = named[1]
            found.entries.setdefault(section, {})[entry] = named[2]
        elif entry:
            found.entries[section][entry] += f" {line.strip()}"
        else:
            found.texts[section] += f" {line.strip()}"
    found.prose = re.sub(r"\n{3,}", "\n\n", "\n".join(before)).strip()
    found.texts = {name: " ".join(said.split()) for name, said in found.texts.items() if said.strip()}
    found.entries = {
        name: {key: " ".join(said.split()) for key, said in entries.items()} for name, entries in found.entries.items()
    }
    return found


def class_attributes(kind: type) -> dict[str, str]:
    """Return what a class and those that it derives from say of their attributes."""
    return {
        name: said
        for base in reversed(kind.__mro__)
        for name, said in parse(base.__doc__).entries.get("Attributes", {}).items()
    }
