"""The C interface of runtime/cpp through ctypes: the header's structures field by field, and a handle as a class.

Tests that expect a crash to be possible run this in a process of their own; see `tests/helpers/cpp/mutations.py`.
"""

import ctypes
import functools
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from runtime.support.arrays import Floats, Pixels
from tests.helpers.cpp.build import build_library, require_tools

LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Status(IntEnum):
    OK = 0
    INVALID_ARGUMENT = 1
    BUNDLE = 2
    UNSUPPORTED = 3
    DEVICE = 4
    BACKEND = 5
    VERIFICATION = 6
    OUT_OF_MEMORY = 7


class Backend(IntEnum):
    AUTO = 0
    OPENVINO = 1
    TENSORRT = 2
    ONNXRUNTIME = 3


class PixelFormat(IntEnum):
    RGB = 0
    GREY = 1
    RGBA = 2


CHANNELS = {PixelFormat.RGB: 3, PixelFormat.GREY: 1, PixelFormat.RGBA: 4}


class Params(ctypes.Structure):
    _fields_ = [
        ("struct_bytes", ctypes.c_size_t),
        ("backend", ctypes.c_int),
        ("max_batch", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("check_hashes", ctypes.c_int32),
        ("precision", ctypes.c_char_p),
        ("cuda_graph", ctypes.c_int32),
        ("tensorrt_library", ctypes.c_char_p),
        ("log", LogCallback),
        ("log_user", ctypes.c_void_p),
        ("images_upright", ctypes.c_int32),
        ("onnxruntime_library", ctypes.c_char_p),
    ]


class Buffers(ctypes.Structure):
    _fields_ = [
        (name, kind)
        for part in ("manifest", "model", "plan", "sidecar", "labels")
        for name, kind in ((part, ctypes.c_char_p), (f"{part}_bytes", ctypes.c_size_t))
    ]


class Info(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_char_p) for name in ("model", "precision", "executes", "backend", "licence")),
        *((name, ctypes.c_size_t) for name in ("classes", "embedding_dim")),
        *((name, ctypes.c_size_t) for name in ("image_height", "image_width", "pixels_bytes", "max_batch")),
        ("exif_rotate", ctypes.c_int32),
        ("depth16_scale", ctypes.c_int32),
        ("channels", ctypes.c_size_t),
    ]


class ImageView(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
        ("stride_bytes", ctypes.c_size_t),
        ("format", ctypes.c_int),
    ]


class Check(ctypes.Structure):
    _fields_ = [
        ("images", ctypes.c_size_t),
        ("same_top1", ctypes.c_size_t),
        ("logits_db", ctypes.c_double),
        ("embedding_db", ctypes.c_double),
        ("required_db", ctypes.c_double),
    ]


class Resize(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("resize_height", "resize_width", "image_height", "image_width")),
        ("bicubic", ctypes.c_int32),
        ("mode", ctypes.c_int),
        ("colour", ctypes.c_int),
    ]


# The header's name of each structure.
STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "rne_params": Params,
    "rne_buffers": Buffers,
    "rne_info": Info,
    "rne_image": ImageView,
    "rne_check": Check,
    "rne_resize": Resize,
}


class LibraryError(Exception):
    """A call that returned another status than RNE_OK."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message


def load(path: Path) -> ctypes.CDLL:
    """Return the library in a file, every function with its signature."""
    library = ctypes.CDLL(str(path))
    pointer, size, handle = ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_void_p)
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rne_default_params": (Params, []),
        "rne_open": (ctypes.c_int, [ctypes.c_char_p, ctypes.POINTER(Params), handle]),
        "rne_open_buffers": (ctypes.c_int, [ctypes.POINTER(Buffers), ctypes.POINTER(Params), handle]),
        "rne_close": (None, [pointer]),
        "rne_get_info": (Info, [pointer]),
        "rne_label": (ctypes.c_char_p, [pointer, size]),
        "rne_preprocess": (ctypes.c_int, [pointer, ctypes.POINTER(ImageView), pointer]),
        "rne_infer": (ctypes.c_int, [pointer, pointer, size, pointer, pointer]),
        "rne_infer_on_stream": (ctypes.c_int, [pointer, pointer, size, pointer, pointer, pointer]),
        "rne_self_check": (ctypes.c_int, [pointer, ctypes.POINTER(Check)]),
        "rne_last_error": (ctypes.c_char_p, []),
        "rne_version": (ctypes.c_char_p, []),
        "rne_preprocessor_open": (ctypes.c_int, [ctypes.POINTER(Resize), handle]),
        "rne_preprocessor_run": (ctypes.c_int, [pointer, ctypes.POINTER(ImageView), pointer]),
        "rne_preprocessor_close": (None, [pointer]),
    }
    for name, (returned, taken) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = returned, taken
    return library


@functools.cache
def built_library() -> ctypes.CDLL:
    """Return the library with OpenVINO, built; skips the test where it cannot be."""
    require_tools()
    return load(build_library() / "lib/libresnet_engine.so")


def require_ok(library: ctypes.CDLL, status: int) -> None:
    """Raise a LibraryError for anything but RNE_OK."""
    if status != Status.OK:
        raise LibraryError(Status(status), library.rne_last_error().decode())


def make_params(library: ctypes.CDLL, **changes: Any) -> Params:
    """Return the default parameters with some fields changed."""
    params: Params = library.rne_default_params()
    for name, value in changes.items():
        setattr(params, name, value)
    return params


def make_buffers(**parts: bytes | None) -> Buffers:
    """Return a bundle in memory from the bytes of its parts; the structure keeps them alive."""
    buffers = Buffers()
    for name, content in parts.items():
        if content is not None:
            setattr(buffers, name, content)
            setattr(buffers, f"{name}_bytes", len(content))
    return buffers


def view(image: Pixels, *, stride_bytes: int | None = None) -> ImageView:
    """Return the structure over an image of (H, W) or (H, W, C) uint8; the caller keeps the array alive."""
    assert image.flags.c_contiguous
    height, width = image.shape[:2]
    channels = 1 if image.ndim == 2 else image.shape[2]
    kind = {1: PixelFormat.GREY, 3: PixelFormat.RGB, 4: PixelFormat.RGBA}[channels]
    return ImageView(image.ctypes.data, width, height, stride_bytes or width * channels, kind)


class Engine:
    """An opened bundle.

    Args:
        bundle: A directory, or the parts of a bundle in memory.
        library: What `load` returned; None for the one with OpenVINO.
        **changes: Fields of rne_params.
    """

    def __init__(self, bundle: Path | Buffers, *, library: ctypes.CDLL | None = None, **changes: Any) -> None:
        self.library = library or built_library()
        self.handle = ctypes.c_void_p()
        params = make_params(self.library, **changes)
        at = ctypes.byref(self.handle)
        if isinstance(bundle, Buffers):
            status = self.library.rne_open_buffers(ctypes.byref(bundle), ctypes.byref(params), at)
        else:
            status = self.library.rne_open(bytes(bundle), ctypes.byref(params), at)
        assert (status == Status.OK) == bool(self.handle)
        require_ok(self.library, status)
        self.info: Info = self.library.rne_get_info(self.handle)

    def preprocess(self, image: Pixels) -> Pixels:
        """Return the network's pixels, (H, W, channels) uint8."""
        pixels = np.full((self.info.image_height, self.info.image_width, self.info.channels), 0xA5, np.uint8)
        status = self.library.rne_preprocess(self.handle, ctypes.byref(view(image)), pixels.ctypes.data)
        require_ok(self.library, status)
        return pixels

    def infer(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Return logits (N, classes) and embedding (N, embedding_dim) of (N, H, W, channels) uint8."""
        pixels = np.ascontiguousarray(pixels)
        logits = np.full((len(pixels), self.info.classes), np.nan, np.float32)
        embedding = np.full((len(pixels), self.info.embedding_dim), np.nan, np.float32)
        addresses = (logits.ctypes.data, embedding.ctypes.data)
        status = self.library.rne_infer(self.handle, pixels.ctypes.data, len(pixels), *addresses)
        require_ok(self.library, status)
        return logits, embedding

    def self_check(self) -> Check:
        """Return the figures of the golden images."""
        check = Check()
        require_ok(self.library, self.library.rne_self_check(self.handle, ctypes.byref(check)))
        return check

    def labels(self) -> tuple[str, ...]:
        """Return every class's label."""
        return tuple(self.library.rne_label(self.handle, i).decode() for i in range(self.info.classes))

    def close(self) -> None:
        """Free the handle."""
        self.library.rne_close(self.handle)
        self.handle = ctypes.c_void_p()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
