"""The broker's own log: topics, committed offsets, producer ids, transactions.

One JSON array a line, the first item the kind of the event. A line is written at once and counts
only when it is whole, so one event is never seen by halves after a sudden end.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.segment import LogDamaged, sync_folder

Event = tuple[Any, ...]
"""Kind and values, all of them JSON."""

_SLACK = 20_000  # events in the file beyond those that are still needed, before it is rewritten


class MetadataJournal:
    """An append-only file of events that is now and then replaced by a shorter one."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self._path = path
        self._durable = durable
        self._file: int | None = None
        self._surplus = 0

    def read(self) -> list[Event]:
        """Return the events, oldest first, without a last line that is torn. Raises LogDamaged."""
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        events: list[Event] = []
        for number, line in enumerate(lines, start=1):
            try:
                events.append(tuple(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise LogDamaged(
                    f"{self._path}: line {number} is no event: {error}; restore the file, or "
                    "delete the data folder to start afresh"
                ) from error
        return events

    def rewrite(self, events: Iterable[Event]) -> None:
        """Replace the file, atomically, by one with just these events; then it can be appended."""
        temporary = self._path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.writelines(map(_line, events))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)
        sync_folder(self._path.parent)
        self.close()
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._surplus = 0

    def append(self, *events: Event) -> None:
        """Add events; on return they survive the end of this process (or worse, if durable).

        Raises Refused(KAFKA_STORAGE_ERROR), and then none of them is in the file.
        """
        if self._file is None:
            raise ValueError("the journal is not open: rewrite it first")
        size = os.fstat(self._file).st_size
        left = memoryview(b"".join(map(_line, events)))
        try:
            while left:
                left = left[os.write(self._file, left) :]
            if self._durable:
                os.fdatasync(self._file)
        except OSError as error:
            os.ftruncate(self._file, size)
            raise Refused(
                ErrorCode.KAFKA_STORAGE_ERROR, f"cannot write {self._path}: {error.strerror}"
            ) from error
        self._surplus += len(events)

    @property
    def bloated(self) -> bool:
        """Whether the file should be rewritten."""
        return self._surplus > _SLACK

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _line(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"
