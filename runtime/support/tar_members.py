"""The members of a tar archive, in fixed memory, none left out in silence.

A damaged archive is an error where the damage is, also where a header is damaged or missing, which tarfile takes
for the end: the end is a block of zeros.
"""

import tarfile
from collections.abc import Iterator

# Source: POSIX.1-2017, pax, ustar interchange format: two 512-byte blocks of zeros end an archive. With the
# first one there, no file is missing.
_END_MARK = bytes(512)


def walk_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield every member of an archive that was just opened.

    Raises:
        ReadError: A file is cut off, or what follows the last one is not the end mark.
    """
    while (member := tar.next()) is not None:
        # Else tarfile keeps every member until the archive is closed. Undocumented; webdataset does the same.
        tar.members = []  # type: ignore[attr-defined]
        yield member
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(len(_END_MARK)) != _END_MARK:
        raise tarfile.ReadError(f"{tar.name!r} is damaged or cut off at byte {tar.offset}")
