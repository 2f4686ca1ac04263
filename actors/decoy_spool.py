"""The decoy: keeps each input exactly as the models saw it, with its answer, and scores nothing.

The policy actor writes here, to a spool on the node's own disk; `repertory.streams.archive` takes
it from there to the archive.
"""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from repertory.actors.batch import PROTOBUF
from repertory.actors.decoy_segment import (
    MAGIC,
    OPEN,
    SEALED,
    frame,
    held_bytes,
    is_at,
    lock,
    name,
    seal_orphans,
    segments,
)
from repertory.config import MEBIBYTE
from repertory.protos.decoy_pb2 import ArchivedBatch
from repertory.protos.door_pb2 import Envelope

# A segment becomes one file of the archive: large enough to be read quickly, small enough to be
# held in memory; and an input is in the archive a few seconds after it was answered.
SEGMENT_BYTES = 16 * MEBIBYTE
SEGMENT_SECONDS = 5.0
# How often a spool that is full looks whether something was taken from it.
LOOK_SECONDS = 0.5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DecoyEntry:
    """A batch that was answered: `payload` has its `count` records as they came over the door.

    `answer` is the reply as it was sent, a serialised ScoredBatch with its policy report.
    """

    data_type: str
    payload: bytes
    count: int
    answer: bytes
    encoding: Envelope.Encoding = PROTOBUF
    archived_us: int = field(default_factory=lambda: time.time_ns() // 1000)  # epoch


class DecoySpool:
    """Appends batches to segments in a folder. Used by one thread; one instance for a folder.

    What was appended survives the death of the process at any moment, and not that of the machine:
    nothing is synced. Never raises, and never waits for the archive: a batch for which there is no
    room (`limit_bytes`), or that the disk refuses, is not archived, but counted in `dropped`.
    """

    def __init__(
        self, folder: Path, *, limit_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._clock = clock
        self._file: int | None = None
        self._path = folder
        self._size = 0  # of the open segment
        self._opened = self._looked = clock()
        self._last = 0  # number of the newest segment
        self._others = 0  # bytes in all other segments, when it was last looked
        self.archived = 0  # batches
        self.dropped = 0  # batches
        self.trouble: str | None = None
        """Why batches are not archived just now, in a sentence; None while they are."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            seal_orphans(folder)
            self._last = max((int(each.stem) for each in segments(folder)), default=0)
        except OSError as error:
            self._refuse(error)
        self._look()

    def append(self, entry: DecoyEntry) -> bool:
        """Archive a batch; return whether there was room for it."""
        batch = ArchivedBatch(
            data_type=entry.data_type,
            archived_us=entry.archived_us,
            encoding=entry.encoding,
            count=entry.count,
            payload=entry.payload,
            answer=entry.answer,
        ).SerializeToString()
        try:
            kept = self._has_room(len(batch)) and self._write(batch, entry.archived_us)
        except OSError as error:
            self._refuse(error)
            kept = False
        if kept:
            self.trouble = None
            self.archived += 1
        else:
            self.dropped += 1
        self.tick()
        return kept

    def tick(self) -> None:
        """Seal the open segment if it is large or old enough; to be called each second or so."""
        if self._file is not None and (
            self._size >= SEGMENT_BYTES or self._clock() - self._opened >= SEGMENT_SECONDS
        ):
            self._seal()

    def close(self) -> None:
        """Seal what is open. Idempotent; `append` goes on with a new segment."""
        if self._file is not None:
            self._seal()

    def _has_room(self, size: int) -> bool:
        full = self._others + self._size + size > self._limit
        if full and self._clock() - self._looked >= LOOK_SECONDS:
            self._look()
            full = self._others + self._size + size > self._limit
        if full:
            self._note(
                f"{self._folder} holds {(self._others + self._size) / MEBIBYTE:,.0f} MiB that wait"
                f" for the archive, and its limit is {self._limit / MEBIBYTE:,.0f}: inputs are not"
                " archived until there is room; mend the archive, or raise decoy.spool_mb"
            )
        return not full

    def _look(self) -> None:
        """See what the folder holds; the archiver removes what it has taken."""
        self._looked = self._clock()
        with contextlib.suppress(OSError):
            self._others = max(held_bytes(self._folder) - self._size, 0)

    def _write(self, batch: bytes, now_us: int) -> bool:
        if self._file is None:
            self._open(now_us)
        assert self._file is not None
        parts = frame(batch)
        wanted = sum(map(len, parts))
        written = 0
        try:
            written = os.writev(self._file, parts)
        finally:
            if written != wanted:  # what follows half a frame would be lost
                os.ftruncate(self._file, self._size)
        if written != wanted:
            self._note(f"{self._folder}: the disk is full; inputs are not archived")
            return False
        self._size += wanted
        return True

    def _open(self, now_us: int) -> None:
        """Begin a segment, locked, so that whoever seals what is left behind leaves it alone."""
        while self._file is None:
            self._last = max(self._last + 1, now_us)
            path = self._folder / (name(self._last) + OPEN)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            handle = os.open(path, flags, 0o600)
            try:
                if lock(handle) and is_at(handle, path):
                    os.write(handle, MAGIC)
                    self._file, self._path = handle, path
                    self._size, self._opened = len(MAGIC), self._clock()
            finally:
                if self._file is None:
                    path.unlink(missing_ok=True)
                    os.close(handle)

    def _seal(self) -> None:
        """Give the open segment over to the archiver."""
        assert self._file is not None
        file, self._file = self._file, None
        try:
            if self._size > len(MAGIC):
                self._path.rename(self._path.with_suffix(SEALED))
            else:
                self._path.unlink()
        except OSError as error:
            self._refuse(error)
        finally:
            os.close(file)
        self._size = 0
        self._look()

    def _refuse(self, error: OSError) -> None:
        self._note(f"{self._folder}: inputs cannot be archived: {error.strerror}")

    def _note(self, sentence: str) -> None:
        if self.trouble is None:
            log.error("inputs are not archived", why=sentence)
        self.trouble = sentence
