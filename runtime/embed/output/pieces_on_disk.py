"""The pieces of a job that are still to do, written for the workers of a cluster: a file each in the output.

Ray carries their numbers alone. A list of a billion images would not fit into its memory, and a worker could not
find its place in a folder without listing all that comes before.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.data.sources.entries import Entry
from runtime.embed.output.part_files import PIECES, part_name
from runtime.embed.pieces import Piece
from runtime.errors import BundleError
from runtime.on_ray.attempts import refuse_after_attempts
from runtime.support.files import cannot_write, read_plain
from runtime.support.json_file import parse_json


def write_pieces(output: Path, pieces: Iterable[Piece]) -> Iterator[int]:
    """Write each piece, its paths absolute, and yield its number.

    Raises:
        BundleError: The disk cannot take them.
    """
    folder = output / PIECES
    for piece in pieces:
        entries = [entry._replace(file=str(Path(entry.file).absolute())) for entry in piece.entries]
        file = _file(output, piece.number)
        try:
            folder.mkdir(exist_ok=True)
            file.write_text(json.dumps(entries), encoding="utf-8")
        except OSError as error:
            raise cannot_write(file, error) from error
        yield piece.number


def read_piece(output: Path, number: int) -> Piece:
    """Return a piece that was written.

    Raises:
        BundleError: The piece is absent or damaged.
    """
    file = _file(output, number)
    try:
        entries = parse_json(read_plain(file, most_bytes=None))
        return Piece(number, tuple(Entry(*entry) for entry in entries))
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(f"{file} cannot be read ({error}): start the job again") from error


def record_attempt(output: Path, piece: Piece) -> None:
    """Note that a worker begins a piece.

    Raises:
        EngineError: The piece has killed so many workers that it would kill the next one too.
    """
    # A byte for each: what is counted outlives the workers.
    file = _file(output, piece.number).with_suffix(".attempts")
    try:
        with file.open("ab") as attempts:
            attempts.write(b".")
        begun = file.stat().st_size
    except OSError as error:
        raise cannot_write(file, error) from error
    refuse_after_attempts(begun, f"from {piece.entries[0].key} to {piece.entries[-1].key}")


def _file(output: Path, number: int) -> Path:
    return output / PIECES / f"{part_name(number)}.json"
