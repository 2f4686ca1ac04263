"""A SQLite file of ours: opened with care, and its errors told with the file and how to mend it."""

import itertools
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repertory.errors import JournalError

BUSY_SECONDS = 10.0  # far longer than the largest append (256 MiB) holds the write lock

_HINTS = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked; end that process, then try again",
    sqlite3.SQLITE_CANTOPEN: "create its folder, or mend the permissions of the folder",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away, then restore it from a backup",
    sqlite3.SQLITE_FULL: "the disk is full; free some space, then try again",
    sqlite3.SQLITE_IOERR: "the disk failed or a limit on file size was met; see the system's log",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file; move it away",
    sqlite3.SQLITE_PERM: "mend the permissions of the file and its folder",
    sqlite3.SQLITE_READONLY: "mend the permissions of the file and its folder",
    sqlite3.SQLITE_TOOBIG: "SQLite takes at most 1 GB in one entry; lower models.max_mb",
}


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file holds: its kind in words, the mark in its header, and its tables.

    The statements of step N bring a file of version N - 1 to version N; a new file takes all steps.
    """

    kind: str
    application_id: int
    steps: Sequence[Sequence[str]]

    @property
    def version(self) -> int:
        """The version of what is written."""
        return len(self.steps)


class Database:
    """A connection in WAL mode whose commits are on the disk when they return.

    Several processes may open one file. Any thread may use an instance, one at a time. Everything
    raises JournalError, which names the file and says how to mend it.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path = path
        self._schema = schema
        with self._errors_told():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._errors_told():
                self._open()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._connection.close()

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._errors_told():
            return self._connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[object] = ()) -> Generator[tuple[Any, ...]]:
        """Yield the rows of a query; the caller may stop early, and should then close it."""
        with self._errors_told():
            cursor = self._connection.execute(sql, parameters)
            try:
                yield from cursor
            finally:
                cursor.close()

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Hold the write lock; commit at the end of the block, or undo all of it when it raises."""
        return self._transaction("BEGIN IMMEDIATE")

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """See the file as it is at one moment, while others may write."""
        return self._transaction("BEGIN")

    def data_version(self) -> int:
        """Return a number that changes when another connection has committed. Cheap."""
        return int(self.rows("PRAGMA data_version")[0][0])

    def check(self) -> None:
        """Read the whole file and raise JournalError when its structure is damaged. Slow."""
        (found, *_), *_ = self.rows("PRAGMA integrity_check(1)")
        if found != "ok":
            what = " ".join(found.split())
            raise JournalError(f"{self.path}: {what}; {_HINTS[sqlite3.SQLITE_CORRUPT]}")

    def _open(self) -> None:
        """Take the file into use.

        1. Refuse files of others and of a newer Repertory. 2. Switch to WAL. 3. Make the tables
        that are missing.
        """
        self._refuse_foreign()
        self._switch_to_wal()
        self._connection.execute("PRAGMA synchronous=FULL")  # WAL alone would lose the last commits
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._connection.execute(f"PRAGMA journal_size_limit={64 << 20}")
        with self.transaction() as connection:
            missing = self._schema.steps[self._pragma("user_version") :]
            for statement in itertools.chain.from_iterable(missing):
                connection.execute(statement)
            if missing:
                connection.execute(f"PRAGMA application_id={self._schema.application_id}")
                connection.execute(f"PRAGMA user_version={self._schema.version}")

    def _refuse_foreign(self) -> None:
        schema = self._schema
        # One statement, so that the answer is of one moment while another process makes the tables.
        ((mark, version, tables),) = self._connection.execute(
            "SELECT (SELECT application_id FROM pragma_application_id),"
            " (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)"
        )
        if mark != schema.application_id and (mark or version or tables):
            raise JournalError(f"{self.path}: is not a {schema.kind}; move it away")
        if version > schema.version:
            raise JournalError(
                f"{self.path}: this {schema.kind} has schema version {version}, written by a newer"
                f" Repertory; this one knows {schema.version}: upgrade it, or use another data_dir"
            )

    def _switch_to_wal(self) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                ((mode,),) = self._connection.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                # SQLite does not wait by itself when two processes switch a new file at once.
                if not _is(error, sqlite3.SQLITE_BUSY) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        if mode != "wal":
            raise JournalError(
                f"{self.path}: its file system cannot hold a write-ahead log (mode {mode});"
                " put data_dir on a local disk"
            )

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._errors_told():
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            hint = f"; {_HINTS[code]}" if code in _HINTS else ""
            raise JournalError(f"{self.path}: {error}{hint}") from error


def _is(error: sqlite3.Error, code: int) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == code
