"""One file of a partition's log, append-only, with an index of its batches in memory."""

import bisect
import os
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

from repertory.errors import RepertoryError
from repertory.streams.devbroker.batch import HEADER_SIZE, BatchHeader, read_header
from repertory.streams.devbroker.records import readable

_SUFFIX = ".log"


class LogDamaged(RepertoryError):
    """Bytes in the middle of a file are not what the broker wrote; nothing is served from it."""


class Segment:
    """The batches from offset `base` on, in a file named after it.

    The index has an entry for each batch: first and last offset, place in the file, latest
    timestamp.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        self.base = int(path.stem)
        self.size = 0
        self.born = time.time()
        self.max_timestamp = -1
        self.horizon: int | None = None  # the earliest delete horizon of any batch
        self.unreadable = False  # whether the cleaner cannot unpack some batch
        self._durable = durable
        self._firsts, self._lasts, self._places, self._timestamps = (array("q") for _ in range(4))
        existed = path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if durable and not existed:
            sync_folder(path.parent)

    @staticmethod
    def path_in(folder: Path, base: int) -> Path:
        """Return where the segment from this offset on is kept."""
        return folder / f"{base:020d}{_SUFFIX}"

    @staticmethod
    def paths_in(folder: Path) -> list[Path]:
        """Return the folder's segment files, lowest offset first."""
        return sorted(path for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdecimal())

    def load(self) -> Iterator[tuple[BatchHeader, bytes]]:
        """Index the file, yielding each batch's header, and its bytes if it is a control batch.

        Stops before the first batch that is not whole; `cut` then drops the rest.
        """
        status = os.fstat(self._file)
        self.born = status.st_mtime
        while self.size + HEADER_SIZE <= status.st_size:
            header = read_header(os.pread(self._file, HEADER_SIZE, self.size))
            whole = header.length >= HEADER_SIZE - 12 and self.size + header.size <= status.st_size
            if header.magic != 2 or not whole:
                return
            batch = os.pread(self._file, header.size, self.size) if header.control else b""
            self._index(header)
            yield header, batch

    @property
    def torn(self) -> int:
        """Bytes of the file after its last whole batch."""
        return os.fstat(self._file).st_size - self.size

    def cut(self) -> None:
        """Drop what follows the last whole batch."""
        os.ftruncate(self._file, self.size)

    def append(self, header: BatchHeader, batch: bytes | bytearray) -> None:
        """Write a batch; on return it survives the end of this process.

        If `durable`, it survives a power failure as well. Raises OSError, and then nothing of the
        batch stays in the file.
        """
        try:
            left = memoryview(batch)
            while left:
                left = left[os.write(self._file, left) :]
            if self._durable:
                os.fdatasync(self._file)
        except OSError:
            self.cut()
            raise
        self._index(header)

    def _index(self, header: BatchHeader) -> None:
        self._firsts.append(header.base_offset)
        self._lasts.append(header.last_offset)
        self._places.append(self.size)
        timestamp = -1 if header.control else header.max_timestamp
        self._timestamps.append(timestamp)
        self.size += header.size
        self.max_timestamp = max(self.max_timestamp, timestamp)
        if header.delete_horizon is not None:
            self.horizon = min(self.horizon or header.delete_horizon, header.delete_horizon)
        self.unreadable = self.unreadable or not readable(header)

    @property
    def last(self) -> int:
        """Offset of the last record; `base - 1` if there is none."""
        return self._lasts[-1] if self._lasts else self.base - 1

    def read(
        self, offset: int, limit: int, max_bytes: int, *, at_least_one: bool
    ) -> tuple[bytes, int]:
        """Return whole batches, from the one with `offset` on, and the offset after them.

        Only batches that start before offset `limit`, and no more than `max_bytes`, unless the
        first one alone is larger and `at_least_one` is wanted.
        """
        first = bisect.bisect_left(self._lasts, offset)
        end = bisect.bisect_left(self._firsts, limit, first)
        if first >= end:
            return b"", offset
        start = self._places[first]
        if self._end(end - 1) - start > max_bytes:
            end = bisect.bisect_right(self._places, start + max_bytes, first) - 1
            end = max(end, first + at_least_one)
        if first == end:
            return b"", offset
        return self._bytes(start, self._end(end - 1)), self._lasts[end - 1] + 1

    def batches(self, from_timestamp: int) -> Iterator[bytes]:
        """Yield the batches that have a timestamp this late or later, in the order of the log."""
        for index, timestamp in enumerate(self._timestamps):
            if timestamp >= from_timestamp:
                yield self._bytes(self._places[index], self._end(index))

    def _end(self, index: int) -> int:
        return self._places[index + 1] if index + 1 < len(self._places) else self.size

    def _bytes(self, start: int, end: int) -> bytes:
        parts = []
        while start < end:
            part = os.pread(self._file, end - start, start)
            if not part:
                raise OSError(f"{self.path} was cut short by someone else")
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the file; the segment is not used afterwards."""
        os.close(self._file)

    def remove(self) -> None:
        """Close and delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_batches(path: Path) -> Iterator[tuple[BatchHeader, bytes]]:
    """Yield the batches of a segment file that nobody appends to, without a Segment's help."""
    with path.open("rb") as file:
        while len(head := file.read(HEADER_SIZE)) == HEADER_SIZE:
            header = read_header(head)
            yield header, head + file.read(header.size - HEADER_SIZE)
