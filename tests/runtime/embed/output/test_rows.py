"""What is written of an image is what PyTorch and scipy make of the engine's numbers, or a reason why there is none."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.special import softmax

from runtime.bundle.bundle import open_bundle
from runtime.data.sources.entries import Entry, Listing
from runtime.embed.decode import Decoded, decode_entry
from runtime.embed.output.identity import Job, RowFacts, describe_job
from runtime.embed.output.rows import best_classes, finish_embedding, why_not_finite
from runtime.embed.request import EmbedRequest, OutputChoice
from runtime.embed.run_parts import embed_batch
from runtime.engines.contract import Outputs
from runtime.engines.facts import EngineFacts
from runtime.errors import MachineError
from runtime.images.reading import pillow_silenced
from tests.helpers.bundles import CLASSES, DIM, SIZE, write_hand_made
from tests.helpers.embed_jobs import BROKEN_REASON, SumEngine
from tests.helpers.image_folders import picture

# Two roundings to float32, of the quotient here and of norm and quotient in PyTorch: 3 of 2**-24.
NORMALISED_RTOL = 3 * 2.0**-24
# Sums of up to 1000 exponentials in float64, then one rounding to float32: half a unit in the last place, and a hair.
SOFTMAX_RTOL = 2.0**-23
LARGEST_FLOAT16 = 65504.0


def facts(**changes: object) -> RowFacts:
    return RowFacts.model_validate(
        {"format": "parquet", "dtype": "float32", "normalised": False, "top_k": 0, **changes}
    )


def drawn(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((rows, columns)) * 10).astype(np.float32)


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    bundle = open_bundle(write_hand_made(tmp_path / "bundle"))

    def make(**writing: object) -> Job:
        request = EmbedRequest(
            bundle=bundle.path,
            images=(),
            output=tmp_path,
            writing=OutputChoice(**writing),  # type: ignore[arg-type]
        )
        return describe_job(request, bundle, EngineFacts(name="", version="", executes=""), Listing(0, ""), hardware="")

    return make


def test_embeddings_are_divided_by_their_norm_as_pytorch_does_and_zeros_stay() -> None:
    embedding = drawn(7, 512)
    embedding[3] = 0
    wanted = torch.nn.functional.normalize(torch.from_numpy(embedding)).numpy()
    found = finish_embedding(embedding, facts(normalised=True))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=NORMALISED_RTOL, atol=0)
    np.testing.assert_array_equal(found[3], 0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_norm_of_very_small_and_very_large_numbers_is_neither_lost_nor_infinite(scale: float) -> None:
    found = finish_embedding(np.array([[3, 4]], np.float32) * np.float32(scale), facts(normalised=True))
    np.testing.assert_allclose(found, [[0.6, 0.8]], rtol=NORMALISED_RTOL)


def test_float16_is_rounded_after_the_division() -> None:
    embedding = drawn(5, 64)
    exact = embedding.astype(np.float64) / np.linalg.norm(embedding.astype(np.float64), axis=1, keepdims=True)
    found = finish_embedding(embedding, facts(normalised=True, dtype="float16"))
    assert found.dtype == np.float16
    # Rounded to float32 first: next to a half, the other neighbour of float16 may come out.
    np.testing.assert_allclose(found, exact, rtol=2.0**-11 + 2.0**-23, atol=2.0**-25)


def test_what_is_returned_does_not_change_with_the_engines_buffer() -> None:
    buffer = drawn(2, 4)
    found, wanted = finish_embedding(buffer, facts()), buffer.copy()
    buffer[:] = 0
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("top_k", [1, 5, 1000])
def test_best_classes_and_their_probabilities_are_those_of_pytorch_and_scipy(top_k: int) -> None:
    logits = drawn(9, 1000)
    classes, scores = best_classes(logits, top_k)
    wanted = torch.topk(torch.from_numpy(logits), top_k)
    assert (classes.dtype, scores.dtype) == (np.int32, np.float32)
    np.testing.assert_array_equal(np.take_along_axis(logits, classes, axis=1), wanted.values)
    if top_k <= 5:  # equal logits further down may be in either order in PyTorch
        np.testing.assert_array_equal(classes, wanted.indices)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    np.testing.assert_allclose(scores, np.take_along_axis(probabilities, classes, axis=1), rtol=SOFTMAX_RTOL)


def test_of_equal_logits_the_lower_class_comes_first_and_large_ones_do_not_overflow() -> None:
    classes, scores = best_classes(np.array([[1, 3, 3, 0], [-3e38, 3e38, 3e38, 0]], np.float32), 3)
    np.testing.assert_array_equal(classes, [[1, 2, 0], [1, 2, 3]])
    np.testing.assert_allclose(scores[1], [0.5, 0.5, 0])
    weights = np.exp([3.0, 3.0, 1.0, 0.0])
    np.testing.assert_allclose(scores[0], weights[:3] / weights.sum(), rtol=SOFTMAX_RTOL)


def test_no_best_classes_are_empty_arrays() -> None:
    classes, scores = best_classes(drawn(3, 10), 0)
    assert (classes.shape, scores.shape) == ((3, 0), (3, 0))


def test_what_is_not_finite_has_a_reason() -> None:
    embedding = np.array([[1, 2], [np.nan, 0], [np.inf, 0], [1e5, 0], [1, 2], [LARGEST_FLOAT16, 0]], np.float32)
    logits = np.zeros((6, 3), np.float32)
    logits[4, 1] = -np.inf
    nan, large = "the engine gave NaN or infinity", "the embedding is beyond float16's range"
    for dtype, fourth in (("float32", ""), ("float16", large)):
        written = finish_embedding(embedding, facts(dtype=dtype))
        assert why_not_finite(embedding, written, logits) == ["", nan, nan, fourth, nan, ""]


def test_a_row_that_is_not_finite_or_not_read_leaves_the_batch_and_the_others_stay(
    make_job: Callable[..., Job],
) -> None:
    class Faulty(SumEngine):
        def infer(self, pixels: np.ndarray) -> Outputs:
            logits, embedding = super().infer(pixels)
            embedding[0, 1] = np.nan
            return Outputs(logits, embedding)

    pixels = [np.full((SIZE, SIZE, 3), value, np.uint8) for value in (9, 5, 7)]
    batch = [
        Decoded("nan", "a", pixels[0]),
        Decoded("black", "", None, "why"),
        Decoded("five", "b", pixels[1]),
        Decoded("seven", "c", pixels[2]),
    ]
    engine = Faulty()
    rows, without = embed_batch(batch, engine, make_job(top_k=2))
    assert [(one.key, one.reason) for one in without] == [("nan", "the engine gave NaN or infinity"), ("black", "why")]
    assert (rows.keys, rows.sha256) == (("five", "seven"), ("b", "c"))
    np.testing.assert_array_equal(rows.embedding[:, 0], np.array([5, 7], np.float32) * SIZE * SIZE / 1024)
    np.testing.assert_array_equal(rows.classes, [[0, 1], [0, 1]])
    # The unreadable one is black, in its place.
    np.testing.assert_array_equal(engine.batches[0], np.stack([pixels[0], np.zeros_like(pixels[0]), *pixels[1:]]))


def test_a_batch_of_which_nothing_can_be_read_is_not_run_and_has_empty_arrays(make_job: Callable[..., Job]) -> None:
    engine = SumEngine()
    rows, without = embed_batch([Decoded("a", "", None, "why")], engine, make_job(dtype="float16", top_k=2))
    assert engine.batches == []
    assert len(rows) == 0
    assert (rows.embedding.shape, rows.embedding.dtype) == ((0, DIM), np.float16)
    assert rows.classes.shape == rows.scores.shape == (0, 2)
    assert CLASSES >= 2
    assert [one.key for one in without] == ["a"]


@given(arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)))
def test_whatever_an_engine_gives_only_finite_numbers_are_written(embedding: np.ndarray) -> None:
    for dtype in ("float32", "float16"):
        for normalised in (False, True):
            with np.errstate(all="ignore"):
                written = finish_embedding(embedding, facts(dtype=dtype, normalised=normalised))
            why = why_not_finite(embedding, written, np.zeros((3, 2), np.float32))
            assert np.isfinite(written[[not reason for reason in why]]).all()


def encoded(kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(picture(0)).save(buffer, kind, **options)
    return buffer.getvalue()


def decode(contents: bytes) -> Decoded:
    with pillow_silenced():
        return decode_entry((Entry("key", "file"), lambda: contents), np.asarray)


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", BROKEN_REASON),
        (b"text", BROKEN_REASON),
        (encoded("PNG")[:-100], "image file is truncated"),
        (encoded("JPEG")[:300], None),
        (encoded("GIF")[:20], None),
        # A pixel format that is none: NotImplementedError, which is no OSError.
        (encoded("DDS")[:80] + bytes(4) + encoded("DDS")[84:], "Unknown pixel format"),
        (b"BLP2" + b"\x63" * 400, None),
    ],
)
def test_damage_is_a_reason_in_one_line_that_is_the_same_every_time(contents: bytes, reason: str | None) -> None:
    first, second = decode(contents), decode(contents)
    assert first == second
    assert first.pixels is None
    assert first.reason
    assert "\n" not in first.reason
    assert " at 0x" not in first.reason
    if reason is not None:
        assert first.reason.startswith(reason)


# The same examples each time: a picture whose changed size is just below Pillow's limit would take half a gigabyte.
@settings(derandomize=True, deadline=None)
@given(st.data())
def test_changed_bytes_of_any_format_give_pixels_or_a_reason(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "DDS", "TGA", "ICO", "SPIDER"]))
    contents = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    found = decode(bytes(contents))
    assert (found.pixels is None) == bool(found.reason)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(24, "Too many open files"),
            r"file cannot be read now \(Too many open files\): the job stops; run the same command again",
        ),
        (OSError(116, "Stale file handle"), r"file cannot be read now \(Stale file handle\)"),
        (MemoryError(), "there is not enough memory to decode file: free some"),
    ],
)
def test_what_is_the_machines_fault_stops_the_job(error: Exception, words: str) -> None:
    def read() -> bytes:
        raise error

    with pytest.raises(MachineError, match=words):
        decode_entry((Entry("key", "file"), read), np.asarray)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(2, "No such file or directory", "/where/it/was.png"), "No such file or directory"),
        (PermissionError(13, "Permission denied", "/where/it/was.png"), "Permission denied"),
        (ValueError("the row has no image"), "the row has no image"),
        (EOFError(), "EOFError"),
    ],
)
def test_what_is_the_images_fault_is_a_reason_without_a_path(error: Exception, reason: str) -> None:
    def read() -> bytes:
        raise error

    assert decode_entry((Entry("key", "file"), read), np.asarray) == Decoded("key", "", None, reason)
