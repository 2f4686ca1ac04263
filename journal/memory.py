"""The journal in memory: the working twin for tests, and for trying things out."""

import threading
from collections.abc import Sequence
from typing import Any

from repertory.journal.clock import epoch_ms
from repertory.journal.journal import Entry, check_rollback


class MemoryJournal:
    """A journal that ends with its process. Unlike the others, threads may share an instance."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._origins: dict[str, Entry] = {}
        self._changed = threading.Condition()

    def append(self, data_type: str, descriptor: bytes, *, origin: str | None = None) -> Entry:
        """Append a descriptor; see `Journal`."""
        return self._add_once(origin, data_type, descriptor=descriptor)

    def roll_back(self, data_type: str, version: int) -> Entry:
        """Append a roll back; see `Journal`. Raises JournalError when there is no such version."""
        with self._changed:
            check_rollback(self, data_type, version)
            return self._add(data_type, rollback_to=version)

    def retire(self, data_type: str, *, origin: str | None = None) -> Entry:
        """Append the end of a data type's model; see `Journal`."""
        return self._add_once(origin, data_type, retires=True)

    def set_policy(self, data_type: str, policy: bytes, *, origin: str | None = None) -> Entry:
        """Append a policy; see `Journal`."""
        return self._add_once(origin, data_type, policy=policy)

    def read(self, after: int, *, limit: int = 100, timeout: float = 0.0) -> Sequence[Entry]:
        """Return entries over `after`; see `Journal`."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._entries) > after, timeout)
            return self._entries[after : after + limit]

    def get(self, position: int) -> Entry | None:
        """Return the entry at `position`, or None."""
        with self._changed:
            return self._entries[position - 1] if 0 < position <= len(self._entries) else None

    def trouble(self) -> str | None:
        """Return None: memory has none."""
        return None

    def close(self) -> None:
        """Do nothing: what was appended stays."""

    def _add_once(self, origin: str | None, data_type: str, **what: Any) -> Entry:
        with self._changed:
            if origin is None:
                return self._add(data_type, **what)
            if origin not in self._origins:
                self._origins[origin] = self._add(data_type, origin=origin, **what)
            return self._origins[origin]

    def _add(self, data_type: str, **what: Any) -> Entry:
        entry = Entry(len(self._entries) + 1, data_type, epoch_ms(), **what)
        self._entries.append(entry)
        self._changed.notify_all()
        return entry
