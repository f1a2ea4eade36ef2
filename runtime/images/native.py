"""Preprocessing by the C library, faster than Python's: `compare --native`.

The bytes are those of `runtime/images/preprocessing.py`.

The library is the one that `make cpp` builds. It is loaded with ctypes; nothing is compiled here.
"""

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.bundle.manifest import Colour, Preprocessing, ResizeMode, sides
from runtime.errors import DataError, UsageError
from runtime.images.colours import convert
from runtime.support.arrays import Pixels
from runtime.support.installed import installed_versions

_OK = 0
# The values of `rne_pixel_format`.
_FORMATS: dict[Colour, int] = {"RGB": 0, "L": 1, "RGBA": 2}
# The values of `rne_resize_mode`.
_MODES: dict[ResizeMode, int] = {"short": 0, "cover": 1, "squash": 2}


class _Resize(ctypes.Structure):
    """`rne_resize` of resnet_engine.h."""

    _fields_ = (
        ("resize_height", ctypes.c_size_t),
        ("resize_width", ctypes.c_size_t),
        ("image_height", ctypes.c_size_t),
        ("image_width", ctypes.c_size_t),
        ("bicubic", ctypes.c_int32),
        ("mode", ctypes.c_int),
        ("colour", ctypes.c_int),
    )


class _Image(ctypes.Structure):
    """`rne_image` of resnet_engine.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
        ("stride_bytes", ctypes.c_size_t),
        ("format", ctypes.c_int),
    )


class NativePreprocessor:
    """The C library's preprocessing for one contract; any number of threads may call it."""

    def __init__(self, library: Path, preprocessing: Preprocessing) -> None:
        """Load the library.

        Args:
            library: `libresnet_engine.so`, or what it is called on this system.
            preprocessing: The bundle's contract.

        Raises:
            UsageError: The file cannot be loaded, is another library, or one of another version.
        """
        try:
            # An absolute path: the system's loader would look elsewhere for a bare name.
            self._library = ctypes.CDLL(str(library.absolute()))
            self._run = self._library.rne_preprocessor_run
            self._open = self._library.rne_preprocessor_open
            self._close = self._library.rne_preprocessor_close
            self._last_error = self._library.rne_last_error
            version = self._library.rne_version
        except (OSError, AttributeError) as error:
            raise UsageError(
                f"{library} is not this project's C library ({error}): `make cpp` builds it, as libresnet_engine.so"
            ) from error
        version.restype = ctypes.c_char_p
        _require_own_version(library, version().decode(errors="replace"))
        self._last_error.restype = ctypes.c_char_p
        self._open.argtypes = (ctypes.POINTER(_Resize), ctypes.POINTER(ctypes.c_void_p))
        self._run.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Image), ctypes.c_void_p)
        self._close.argtypes = (ctypes.c_void_p,)
        self._preprocessing = preprocessing
        self._local = threading.local()

    def __call__(self, image: Image.Image) -> Pixels:
        """Return the network's pixels for one picture, (height, width, channels) uint8.

        Raises:
            DataError: The picture is so long and thin that its resized form would not fit in memory.
        """
        colour = self._preprocessing.colour
        picture = np.ascontiguousarray(convert(image, colour))
        pixels = np.empty(self._preprocessing.pixels_shape, np.uint8)
        given = _Image(picture.ctypes.data, *image.size, image.width * len(colour), _FORMATS[colour])
        if self._run(self._handle().pointer, ctypes.byref(given), pixels.ctypes.data) != _OK:
            raise DataError(self._error())
        return pixels

    def _handle(self) -> "_Handle":
        """Return this thread's handle, made at its first picture and freed with the thread."""
        handle: _Handle | None = getattr(self._local, "handle", None)
        if handle is None:
            contract = self._preprocessing
            sizes = _Resize(
                *sides(contract.resize_size),
                *sides(contract.image_size),
                int(contract.interpolation == "bicubic"),
                _MODES[contract.resize_mode],
                _FORMATS[contract.colour],
            )
            pointer = ctypes.c_void_p()
            if self._open(ctypes.byref(sizes), ctypes.byref(pointer)) != _OK:
                raise UsageError(self._error())
            handle = self._local.handle = _Handle(pointer, self._close)
        return handle

    def _error(self) -> str:
        text: bytes = self._last_error()
        return text.decode(errors="replace")


class _Handle:
    """A C handle that is closed when nothing refers to it any more."""

    def __init__(self, pointer: ctypes.c_void_p, close: Callable[[ctypes.c_void_p], object]) -> None:
        self.pointer = pointer
        self._close = close

    def __del__(self) -> None:
        """Free the handle."""
        self._close(self.pointer)


def _require_own_version(library: Path, reported: str) -> None:
    """Refuse a library whose structures may lie otherwise in memory; the rule is at RNE_VERSION_MAJOR in the header.

    Raises:
        UsageError: The library is of another minor version.
    """
    own = installed_versions(["export-ssl"])["export-ssl"]
    theirs = reported.partition(" ")[0]
    if theirs.split(".")[:2] != own.split(".")[:2]:
        raise UsageError(f"{library} is of version {theirs}, this run-ssl of {own}: build it again with `make cpp`")
