"""Pictures written as every kind of source that the commands read."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.helpers.image_folders import picture, write_picture


def encoded(seed: int) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    contents = io.BytesIO()
    Image.fromarray(picture(seed)).save(contents, "PNG")
    return contents.getvalue()


def written(folder: Path, kind: str, count: int) -> Path:
    """Write the pictures of seeds 0 to `count` - 1 in one kind of source, and return its path."""
    if kind == "list":
        for seed in range(count):
            write_picture(folder / "files" / f"{seed}.png", seed)
        (folder / "list.txt").write_text("".join(f"files/{seed}.png 0\n" for seed in range(count)))
        return folder / "list.txt"
    if kind == "parquet":
        pq.write_table(pa.table({"image": [encoded(seed) for seed in range(count)]}), folder / "t.parquet")
        return folder / "t.parquet"
    (folder / "shards").mkdir()
    with tarfile.open(folder / "shards" / "0.tar", "w") as archive:
        for seed in range(count):
            info = tarfile.TarInfo(f"{seed:04}.png")
            info.size = len(encoded(seed))
            archive.addfile(info, io.BytesIO(encoded(seed)))
    return folder / "shards"
