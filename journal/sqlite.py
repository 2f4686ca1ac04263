"""The journal in a SQLite file, for a node without Kafka."""

import hashlib
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

from repertory.errors import JournalError
from repertory.journal.clock import epoch_ms
from repertory.journal.database import Database, Schema
from repertory.journal.journal import Entry, check_rollback

READ_BYTES = 64 << 20  # descriptors that one `read` brings into memory, unless the first is larger
POLL_SECONDS = 0.05  # how late a waiting reader may notice an entry; one look costs microseconds

_SCHEMA = Schema(
    kind="journal",
    application_id=0x52504A4C,  # RPJL
    steps=(
        # AUTOINCREMENT: a position is never given twice, even after its row was deleted.
        # `rollback_to` 0, a version that never is, retires the data type.
        (
            """CREATE TABLE entries (
            position INTEGER PRIMARY KEY AUTOINCREMENT,
            data_type TEXT NOT NULL,
            published_ms INTEGER NOT NULL,
            origin TEXT UNIQUE,
            rollback_to INTEGER,
            sha256 BLOB,
            descriptor BLOB,
            CHECK ((descriptor IS NULL) <> (rollback_to IS NULL))
        )""",
        ),
        # The bytes of a policy are in `descriptor`.
        ("ALTER TABLE entries ADD COLUMN is_policy INTEGER NOT NULL DEFAULT 0",),
    ),
)
_NONE = 0
_LAST = 2**63 - 1  # SQLite's largest integer
_COLUMNS = "position, data_type, published_ms, descriptor, rollback_to, is_policy, sha256, origin"


class SqliteJournal:
    """A journal in the file at `path`, which is created when missing; its folder must exist.

    Several processes may append and read at once. What is read is compared with the digest that
    was stored with it. One `read` returns at most 64 MiB of descriptors, or one larger one.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA)

    def append(self, data_type: str, descriptor: bytes, *, origin: str | None = None) -> Entry:
        """Append a descriptor; see `Journal`. It is on the disk when this returns."""
        return self._add(data_type, origin, descriptor=descriptor)

    def roll_back(self, data_type: str, version: int) -> Entry:
        """Append a roll back; see `Journal`. Raises JournalError when there is no such version."""
        check_rollback(self, data_type, version)
        return self._add(data_type, rollback_to=version)

    def retire(self, data_type: str, *, origin: str | None = None) -> Entry:
        """Append the end of a data type's model; see `Journal`."""
        return self._add(data_type, origin, rollback_to=_NONE)

    def set_policy(self, data_type: str, policy: bytes, *, origin: str | None = None) -> Entry:
        """Append a policy; see `Journal`. It is on the disk when this returns."""
        return self._add(data_type, origin, descriptor=policy, is_policy=True)

    def read(self, after: int, *, limit: int = 100, timeout: float = 0.0) -> Sequence[Entry]:
        """Return entries over `after`; see `Journal`."""
        deadline = time.monotonic() + timeout
        while True:
            seen = self._database.data_version()
            if entries := self._read(after, limit):
                return entries
            while self._database.data_version() == seen:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return []
                time.sleep(min(POLL_SECONDS, remaining))

    def get(self, position: int) -> Entry | None:
        """Return the entry at `position`, or None. Raises JournalError."""
        if not 0 < position <= _LAST:
            return None
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM entries WHERE position = ?", (position,)
        )
        return self._entry(rows[0]) if rows else None

    def check(self) -> None:
        """Read the whole journal; raise JournalError when anything in it is damaged. Slow."""
        self._database.check()
        with closing(self._rows_after(0)) as rows:
            for row in rows:
                self._entry(row)

    def trouble(self) -> str | None:
        """Return None: what is wrong with the file, each call says itself."""
        return None

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._database.close()

    def _add(
        self,
        data_type: str,
        origin: str | None = None,
        *,
        descriptor: bytes | None = None,
        rollback_to: int | None = None,
        is_policy: bool = False,
    ) -> Entry:
        digest = None if descriptor is None else hashlib.sha256(descriptor).digest()
        with self._database.transaction() as connection:
            if origin is not None and (present := _find_origin(connection, origin)):
                return self._entry(present)
            now = epoch_ms()
            cursor = connection.execute(
                "INSERT INTO entries"
                " (data_type, published_ms, origin, rollback_to, is_policy, sha256, descriptor)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (data_type, now, origin, rollback_to, is_policy, digest, descriptor),
            )
            position = int(cursor.lastrowid or 0)
        return _told(
            Entry(position, data_type, now, descriptor, rollback_to, origin=origin), is_policy
        )

    def _read(self, after: int, limit: int) -> list[Entry]:
        entries: list[Entry] = []
        size = 0
        with closing(self._rows_after(after)) as rows:
            for row in islice(rows, limit):
                entry = self._entry(row)
                size += len(entry.descriptor or entry.policy or b"")
                if entries and size > READ_BYTES:
                    break
                entries.append(entry)
        return entries

    def _rows_after(self, after: int) -> Generator[tuple[object, ...]]:
        return self._database.stream(
            f"SELECT {_COLUMNS} FROM entries WHERE position > ? ORDER BY position", (after,)
        )

    def _entry(self, row: tuple[object, ...]) -> Entry:
        *fields, is_policy, digest, origin = row
        told = replace(Entry(*fields), origin=origin)  # type: ignore[arg-type]
        entry = _told(told, is_policy)
        content = entry.descriptor if entry.policy is None else entry.policy
        if content is not None and hashlib.sha256(content).digest() != digest:
            what = "descriptor" if entry.policy is None else "policy"
            raise JournalError(
                f"{self._database.path}: the {what} at position {entry.position} is not what"
                " was written; move the file away, then restore it from a backup"
            )
        return entry


def _told(entry: Entry, is_policy: object) -> Entry:
    """Return an entry as it is meant, from how it is stored."""
    if is_policy:
        return replace(entry, descriptor=None, policy=entry.descriptor)
    if entry.rollback_to == _NONE:
        return replace(entry, rollback_to=None, retires=True)
    return entry


def _find_origin(connection: sqlite3.Connection, origin: str) -> tuple[object, ...] | None:
    row: tuple[object, ...] | None = connection.execute(
        f"SELECT {_COLUMNS} FROM entries WHERE origin = ?", (origin,)
    ).fetchone()
    return row
