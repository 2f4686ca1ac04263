"""Segments of a decoy's spool: files of frames, each an archived batch.

A segment is eight bytes that say so, then frames: uint32 LE length | uint32 LE CRC-32 | an
ArchivedBatch. It is named by a number, which rises: `1763904451123456.open` while its writer, who
holds a lock on it, appends to it, and `….segment` once nothing more comes. The numbers are
microseconds of the epoch, so that a spool that was lost does not begin again with old names.
"""

import contextlib
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from repertory.protos.decoy_pb2 import ArchivedBatch

MAGIC = b"RPDECOY1"
FRAME = struct.Struct("<II")
OPEN, SEALED = ".open", ".segment"

log = structlog.get_logger(__name__)


def frame(batch: bytes) -> tuple[bytes, bytes]:
    """Return the two parts of a frame."""
    return FRAME.pack(len(batch), zlib.crc32(batch)), batch


def name(number: int) -> str:
    """Return a segment's name, without its ending. Names sort as numbers do."""
    return f"{number:016d}"


def segments(folder: Path, *endings: str) -> list[Path]:
    """Return the segments in a folder, the oldest first: the sealed ones if no ending is given."""
    found = [path for path in _listed(folder) if path.suffix in (endings or (SEALED,))]
    return sorted(path for path in found if path.stem.isdecimal())


def held_bytes(folder: Path) -> int:
    """Return how many bytes a spool holds."""
    total = 0
    for path in segments(folder, OPEN, SEALED):
        with contextlib.suppress(FileNotFoundError):  # it was archived meanwhile
            total += path.stat().st_size
    return total


def read_segment(path: Path) -> Iterator[ArchivedBatch]:
    """Yield the batches in a segment, up to its end or to the first frame that is not whole.

    Raises OSError when the file cannot be read.
    """
    for body, _ in _frames(path.read_bytes()):
        with contextlib.suppress(DecodeError):  # the digest is right: another version wrote it
            yield ArchivedBatch.FromString(body)


def is_whole(path: Path) -> bool:
    """Return whether nothing of a segment is damaged."""
    content = path.read_bytes()
    return max((end for _, end in _frames(content)), default=0) == len(content)


def seal(path: Path) -> Path | None:
    """Cut a segment after its last whole frame and seal it. Its writer is gone, or calls this.

    Returns the sealed segment; None when it had no whole frame: then it is removed.
    """
    content = path.read_bytes()
    size = max((end for _, end in _frames(content)), default=0)
    if size == 0:
        path.unlink()
    elif size < len(content):
        os.truncate(path, size)
    if size not in (0, len(content)) or (size == 0 and len(content) > len(MAGIC)):
        log.warning("a batch that was being archived is lost", segment=path.name)
    return path.rename(path.with_suffix(SEALED)) if size else None


def seal_orphans(folder: Path) -> None:
    """Seal the segments that were left open by writers that are gone."""
    for path in segments(folder, OPEN):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # another was first
            if lock(file.fileno()) and is_at(file.fileno(), path):
                seal(path)


def lock(handle: int) -> bool:
    """Lock a segment for as long as its file is open. Return whether nobody else has."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(handle: int, path: Path) -> bool:
    """Return whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _frames(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the body of each whole frame, and the position after it."""
    if not content.startswith(MAGIC):
        return
    position = len(MAGIC)
    while position + FRAME.size <= len(content):
        length, digest = FRAME.unpack_from(content, position)
        body = content[position + FRAME.size : position + FRAME.size + length]
        if len(body) < length or zlib.crc32(body) != digest:
            return
        position += FRAME.size + length
        yield body, position
