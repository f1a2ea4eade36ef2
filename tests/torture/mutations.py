"""Changes of valid files that keep as much of their form as a reader checks first: so that the change gets further in.

Each takes a generator and the bytes of a valid file, and returns the bytes of another.
"""

import io
import json
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

# Raw JSON, as no library would write it: beside ordinary values, numbers and nests that some parsers do not take.
_VALUES = (
    *("null", "true", "-1", "0", "1", "2147483648", "18446744073709551616", "1e308", "-1e-320", "NaN", "Infinity"),
    *('"two\\nlines"', '"\\u001b[2J"'),
    *('""', '".."', '"../../outside"', '"/outside"', '"\\u0000"', '"a\\\\b"', '"\\ud800"', '"CON"', '"1e5"', '"nan"'),
    *("[]", "{}", "[[]]", '{"a": 1}', "9" * 5000, '"' + "x" * 70_000 + '"', "[" * 3000 + "]" * 3000, "[1, 2, 3, 4]"),
)
_NUMBERS = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Return bytes with a few of them flipped, taken out, repeated, overwritten by a number, or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(changed) + 1)
        length = rng.choice((1, 2, 4, 8, 64))
        kind = rng.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            changed[at:at] = changed[at : at + length] * rng.choice((1, 2, 30))
        elif kind == 3:
            size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
            changed[at : at + size] = (rng.choice(_NUMBERS) % 256**size).to_bytes(size, order)
        elif kind == 4:
            changed[at:at] = rng.randbytes(length)
        else:
            del changed[at:]
        if not changed:
            break
    return bytes(changed)


def change_json(rng: random.Random, data: bytes) -> bytes:
    """Return JSON with a value replaced, a key taken out, added, doubled or renamed, or its bytes changed.

    Text is spliced where the value stood, so that it may be what Python's json would not write.
    """
    if not rng.randrange(8):
        return change_bytes(rng, data)
    marks: list[str] = []
    tree = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change_node(rng, tree, marks)
    text = json.dumps(tree)
    for index, value in enumerate(marks):
        text = text.replace(f'"<{index}>"', value)
    return text.encode("utf-8", "surrogatepass")


def _change_node(rng: random.Random, tree: Any, marks: list[str]) -> None:
    places = list(_places(tree))
    if not places:
        return
    holder, key = rng.choice(places)
    kind = rng.randrange(5)
    if kind <= 1:
        marks.append(rng.choice(_VALUES))
        holder[key] = f"<{len(marks) - 1}>"
    elif kind == 2:
        del holder[key]
    elif kind == 3 and isinstance(holder, dict):
        holder[rng.choice((f"{key}_", "schema_version", "", "../x"))] = holder[key]
    else:
        holder[key] = rng.choice(places)[0] if rng.randrange(2) else [holder[key]]
        # A tree of itself cannot be written.
        try:
            json.dumps(tree)
        except ValueError:
            holder[key] = None


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a tree of JSON: the object or list, and the key or index."""
    entries = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in entries:
        yield tree, key
        yield from _places(value)


def change_zip(rng: random.Random, data: bytes) -> bytes:
    """Return an archive with one member changed, renamed, taken out or doubled, and its checksums right."""
    if not rng.randrange(4):
        return change_bytes(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = rng.randrange(len(members))
    name, content = members[at]
    kind = rng.randrange(8)
    if kind == 0:
        del members[at]
    elif kind == 1:
        members[at] = (rng.choice((f"../{name}", f"/{name}", name.upper(), f"{name}/", members[0][0])), content)
    elif kind == 2:
        members.append((f"{name}2", content))
    elif name.endswith(".json"):
        members[at] = (name, change_json(rng, content))
    else:
        members[at] = (name, change_bytes(rng, content))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        # Of two members of one name the later one: zipfile warns of a second.
        for one, held in dict(members).items():
            archive.writestr(zipfile.ZipInfo(one), held)
    return written.getvalue()


def change_safetensors(rng: random.Random, data: bytes) -> bytes:
    """Return a file of safetensors with its header changed, and the header's length right."""
    if not rng.randrange(4):
        return change_bytes(rng, data)
    (length,) = struct.unpack("<Q", data[:8])
    header = change_json(rng, data[8 : 8 + length].rstrip())
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def change_tar(rng: random.Random, data: bytes) -> bytes:
    """Return an archive with a field of a header changed, and the header's checksum right."""
    if not rng.randrange(3):
        return change_bytes(rng, data)
    changed = bytearray(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        offset = rng.choice([member.offset for member in archive])
    # Places of the ustar format: name, mode, owner, group, size, time, type, linked name, prefix.
    start, length = rng.choice(
        ((0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (345, 155))
    )
    field = offset + start
    if rng.randrange(2):
        texts = (
            b"../../outside",
            b"/outside",
            b"",
            b"77777777777",
            b"00000000001\0",
            b"\xff" * 12,
            b"\x80" + b"\xff" * 11,
        )
        text = (
            rng.choice(texts)
            if length > 1
            else rng.choice((b"0", b"1", b"2", b"3", b"5", b"x", b"g", b"L", b"K", b"S"))
        )
        changed[field : field + length] = text[:length].ljust(length, b"\0")
    else:
        changed[field + rng.randrange(length)] = rng.randrange(256)
    header = changed[offset : offset + 512]
    header[148:156] = b" " * 8
    changed[offset + 148 : offset + 156] = f"{sum(header):06o}\0 ".encode()
    return bytes(changed)


def change_png(rng: random.Random, data: bytes) -> bytes:
    """Return a picture with one chunk changed, doubled or taken out, and the checksums right."""
    if not rng.randrange(3):
        return change_bytes(rng, data)
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += length + 12
    place = rng.randrange(len(chunks))
    kind, content = chunks[place]
    action = rng.randrange(6)
    if action == 0:
        del chunks[place]
    elif action == 1:
        chunks.insert(rng.randrange(len(chunks) + 1), chunks[place])
    elif action == 2:
        chunks[place] = (rng.choice((b"tRNS", b"PLTE", b"gAMA", b"iCCP", b"eXIf", b"acTL", b"zTXt", b"sBIT")), content)
    else:
        chunks[place] = (kind, change_bytes(rng, content))
    packed = (
        struct.pack(">I", len(held)) + one + held + struct.pack(">I", zlib.crc32(one + held)) for one, held in chunks
    )
    return data[:8] + b"".join(packed)
