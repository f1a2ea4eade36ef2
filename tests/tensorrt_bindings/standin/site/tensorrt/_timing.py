"""The timing cache: a header with version and GPU, then one time per layer that was ever built."""

import hashlib
import json
import struct
import zlib
from typing import Any

from cuda.bindings._machine import MACHINE

from tensorrt._interface import API, State
from tensorrt._logging import log
from tensorrt._values import HostMemory

_MAGIC = b"trtc"


class TimingCacheState(State):
    """ITimingCache."""

    interface = "ITimingCache"

    def __init__(self, header: dict[str, str], entries: dict[str, float]):
        self._header, self._entries = header, entries

    def matches(self) -> bool:
        """Say whether the times were measured by this version on this GPU."""
        return self._header == _own_header()

    def learn(self, layers: list[dict[str, Any]]) -> None:
        """Add a time per layer that is not known yet."""
        for layer in layers:
            text = json.dumps({key: value for key, value in layer.items() if key != "Metadata"}, sort_keys=True)
            key = hashlib.sha256(text.encode()).hexdigest()
            self._entries.setdefault(key, len(text) * 1e-5)

    def combine(self, input_cache: "TimingCacheState", ignore_mismatch: bool) -> bool:
        if input_cache._header != self._header and not ignore_mismatch:
            return False
        self._entries = {**input_cache._entries, **self._entries}
        return True

    def reset(self) -> bool:
        self._entries = {}
        return True

    def serialize(self) -> HostMemory:
        body = json.dumps({"header": self._header, "entries": self._entries}, sort_keys=True).encode()
        return HostMemory(_MAGIC + struct.pack("<II", len(body), zlib.crc32(body)) + body)


def _own_header() -> dict[str, str]:
    return {"version": API["version"], "gpu": MACHINE.device().name}


def create(data: bytes, logger: Any) -> TimingCacheState | None:
    """Return the cache in `data`, an empty one for no bytes, and None, which is C++'s null, for a damaged one."""
    if not data:
        return TimingCacheState(_own_header(), {})
    body = data[12:]
    if data[:4] != _MAGIC or len(data) < 12 or struct.unpack("<II", data[4:12]) != (len(body), zlib.crc32(body)):
        log(logger, "ERROR", "createTimingCache: Error Code 1: Serialization (Serialization assertion failed.)")
        return None
    content = json.loads(body)
    return TimingCacheState(content["header"], content["entries"])
