"""How a job's images are cut into pieces."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.data.sources.entries import Entry
from runtime.embed.pieces import cut_pieces


@given(
    count=st.integers(0, 200),
    batch=st.integers(1, 9),
    batches_per_part=st.integers(1, 5),
    there=st.sets(st.integers(0, 60)),
)
def test_each_image_is_in_one_piece_and_batches_do_not_depend_on_the_pieces_that_are_done(
    count: int, batch: int, batches_per_part: int, there: set[int]
) -> None:
    images = batch * batches_per_part
    pieces = list(cut_pieces((Entry(str(index), "") for index in range(count)), images))
    assert [entry.key for piece in pieces for entry in piece.entries] == [str(index) for index in range(count)]
    assert [piece.number for piece in pieces] == list(range(-(-count // images)))
    # As `read_ahead` batches what is left: one after the other, without regard to the pieces.
    left = [int(entry.key) for piece in pieces if piece.number not in there for entry in piece.entries]
    for first in range(0, len(left), batch):
        here = left[first : first + batch]
        start = here[0] // batch * batch
        assert here == list(range(start, min(start + batch, count)))
