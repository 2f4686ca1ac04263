"""Where snapshots are kept: a folder for each data type, local or at any fsspec URL."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from repertory.errors import JournalError, SnapshotCorrupt
from repertory.journal.clock import epoch_ms
from repertory.journal.snapshot import Snapshot, decode, encode
from repertory.journal.whole_file import UNFINISHED, write_whole

KEEP = 2  # the newest, and one to fall back to; as many that were set aside are kept to look at

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # no way out of the folder, nothing hidden
_NAME = re.compile(r"(?P<sequence>[0-9]{12})-[0-9a-f]{8}\.snapshot")
_SET_ASIDE = re.compile(rf"{_NAME.pattern}\.corrupt-[0-9]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """A snapshot that could not be used, and where it was put; None: it was left in its place."""

    path: str
    reason: str
    set_aside: str | None


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The newest snapshot that is whole, and what was wrong with those newer than it."""

    snapshot: Snapshot | None
    faults: tuple[Fault, ...] = ()


class SnapshotStore:
    """The snapshots below a folder (a path, or an fsspec URL).

    The newest snapshot of a data type is the one saved last. One process at a time saves a data
    type; if two do, a save may fail, but never is a wrong snapshot loaded.
    """

    def __init__(self, url: str | Path) -> None:
        self._files, self._root = url_to_fs(str(url))
        self._local = isinstance(self._files, LocalFileSystem)

    def save(self, snapshot: Snapshot) -> str:
        """Write a snapshot and return its path.

        It is there whole, and on the disk, when this returns; if the process dies before, or this
        raises, the older ones are there as before. Raises JournalError when it cannot be written.

        1. Write a file under another name and force it to the disk. 2. Rename it. 3. Force the
        folder to the disk. 4. Remove what is too old and what dead processes left; if the data
        type is retired, all that is older. (Other file systems than the local one have no such
        steps: the digest alone tells a torn file there.)
        """
        folder = self._folder(snapshot.data_type)
        pieces = encode(snapshot)
        with _errors_told(folder):
            self._files.makedirs(folder, exist_ok=True)
            name = f"{self._next_sequence(folder):012d}-{secrets.token_hex(4)}.snapshot"
            path = f"{folder}/{name}"
            if self._local:
                write_whole(Path(folder), name, pieces)
            else:
                self._files.pipe_file(path, b"".join(pieces))
            self._prune(folder, keep=1 if snapshot.retired else KEEP)
        return path

    def load(self, data_type: str) -> LoadResult:
        """Return the newest snapshot that is whole.

        Those found corrupt on the way are renamed to `….corrupt-<ms>`; those that cannot be read,
        or are of a newer Repertory, are left. Raises JournalError when the folder cannot be read.
        """
        folder = self._folder(data_type)
        faults: list[Fault] = []
        with _errors_told(folder):
            names = self._names(folder, _NAME)
        for name in reversed(names):
            found = self._read(f"{folder}/{name}", data_type)
            if isinstance(found, Snapshot):
                return LoadResult(found, tuple(faults))
            faults.append(found)
        return LoadResult(None, tuple(faults))

    def _read(self, path: str, data_type: str) -> Snapshot | Fault:
        try:
            snapshot = decode(self._files.cat_file(path))
            if snapshot.data_type != data_type:
                raise SnapshotCorrupt(f"it is of {snapshot.data_type!r}, not {data_type!r}")
        except SnapshotCorrupt as error:
            return Fault(path, str(error), self._set_aside(path))
        except (OSError, JournalError) as error:
            return Fault(path, str(error), None)
        return snapshot

    def _set_aside(self, path: str) -> str | None:
        aside = f"{path}.corrupt-{epoch_ms()}"
        try:
            self._files.mv(path, aside)
        except OSError:
            return None  # still reported, and found corrupt again by the next load
        return aside

    def _folder(self, data_type: str) -> str:
        if not _SAFE.fullmatch(data_type):
            raise JournalError(f"{data_type!r} is no name of a data type")
        return f"{self._root}/{data_type}"

    def _names(self, folder: str, pattern: re.Pattern[str]) -> list[str]:
        self._files.invalidate_cache(folder)
        try:
            paths = self._files.ls(folder, detail=False)
        except FileNotFoundError:
            return []
        names = (path.rpartition("/")[2] for path in paths)
        return sorted(name for name in names if pattern.fullmatch(name))

    def _next_sequence(self, folder: str) -> int:
        used = [self._names(folder, pattern)[-1:] for pattern in (_NAME, _SET_ASIDE)]
        return max((int(name[:12]) for names in used for name in names), default=0) + 1

    def _prune(self, folder: str, *, keep: int) -> None:
        for pattern, count in ((_NAME, keep), (_SET_ASIDE, KEEP), (UNFINISHED, 0)):
            names = self._names(folder, pattern)
            for name in names[: max(0, len(names) - count)]:
                with suppress(FileNotFoundError):  # another process was faster
                    self._files.rm_file(f"{folder}/{name}")


@contextmanager
def _errors_told(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JournalError(
            f"{folder}: {error.strerror or error}; mend its permissions, or free some space"
        ) from error
