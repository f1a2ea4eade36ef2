"""The members of a tar archive, in fixed memory, none left out in silence.

1. A damaged archive is an error where the damage is, also where a header is damaged or missing, which tarfile takes
   for the end: the end is a block of zeros.
2. A second archive behind the end, as `cat a.tar b.tar` writes it, is an error too: tarfile, and webdataset with it,
   would leave its members out. Zeros fill the last record, and other bytes than a header's mean nothing there.
"""

import tarfile
from collections.abc import Iterator

from runtime.errors import DataError

# Source: POSIX.1-2017, pax, ustar interchange format: two 512-byte blocks of zeros end an archive. With the
# first one there, no file is missing.
_BLOCK = 512
_END_MARK = bytes(_BLOCK)
_CHUNK = 2048 * _BLOCK


def walk_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield every member of an archive that was just opened.

    Raises:
        ReadError: A file is cut off, or what follows the last one is not the end mark.
        DataError: Another archive follows the end mark.
    """
    while (member := tar.next()) is not None:
        # Else tarfile keeps every member until the archive is closed. Undocumented; webdataset does the same.
        tar.members = []  # type: ignore[attr-defined]
        yield member
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(_BLOCK) != _END_MARK:
        raise tarfile.ReadError(f"{tar.name!r} is damaged or cut off at byte {tar.offset}")
    _refuse_a_second_archive(tar)


def _refuse_a_second_archive(tar: tarfile.TarFile) -> None:
    """Refuse a header behind the end mark that was just read; rule 2.

    Raises:
        DataError: There is one.
    """
    assert tar.fileobj is not None
    start = tar.offset + _BLOCK
    while chunk := tar.fileobj.read(_CHUNK):
        if chunk.count(0) < len(chunk):
            for offset in range(0, len(chunk) - _BLOCK + 1, _BLOCK):
                block = chunk[offset : offset + _BLOCK]
                if block != _END_MARK and _is_header(block):
                    raise DataError(
                        f"{tar.name!r}: a second archive begins at byte {start + offset}, behind the end of the first, "
                        "and most readers would leave it out: expected one archive; join them with "
                        "`tar --concatenate` instead of `cat`, or pass them one by one"
                    )
        start += len(chunk)


def _is_header(block: bytes) -> bool:
    """Return whether a block has the checksum of a member's header."""
    try:
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
