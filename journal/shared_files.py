"""A folder at an fsspec URL that several hosts write to: whole files only, faults told as one error."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations
from fsspec.utils import get_protocol

from repertory.errors import JournalError
from repertory.journal.whole_file import UNFINISHED, unfinished_name, write_whole

# What is put into these is there whole or not at all. Elsewhere a file gets its name when it is whole.
_ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "memory"})

# A file that nobody finished for so long was left by a process that is gone.
UNFINISHED_SECONDS = 3600.0

_USER = re.compile(r"(?<=://)[^/@]*@")


class SharedFiles:
    """Files below an fsspec URL. All calls block for as long as the file system likes.

    Everything raises JournalError; FileNotFoundError is only raised by `read`.
    """

    def __init__(self, url: str) -> None:
        protocol = get_protocol(url)
        try:
            self._files, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise JournalError(f"{hide_user(url)}: {_mend(protocol, error)}") from error
        except Exception as error:  # file systems raise what they like
            raise JournalError(f"{hide_user(url)}: {told(error)}") from error
        self._local = isinstance(self._files, LocalFileSystem)
        self._atomic = protocol in _ATOMIC

    def names(self, folder: str) -> Sequence[str]:
        """Return the names of the files in a folder, sorted; none when it is not there."""
        path = self.path(folder)
        with _errors_told(path):
            self._files.invalidate_cache(path)
            try:
                found = self._files.ls(path, detail=False)
            except FileNotFoundError:
                return []
            return sorted(each.rstrip("/").rpartition("/")[2] for each in found)

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raises FileNotFoundError, too."""
        path = self.path(name)
        with _errors_told(path, but=(FileNotFoundError,)):
            content: bytes = self._files.cat_file(path)
            return content

    def write(self, folder: str, name: str, pieces: Sequence[bytes]) -> str:
        """Put a whole file in its place and return its path; one of that name is replaced."""
        path = self.path(f"{folder}/{name}")
        with _errors_told(path):
            if self._local:
                write_whole(Path(self._root) / folder, name, pieces)
            elif self._atomic:
                self._files.pipe_file(path, b"".join(pieces))
            else:
                self._write_then_move(self.path(folder), name, pieces)
        return path

    def move(self, name: str, to: str) -> None:
        """Give a file another name."""
        with _errors_told(self.path(name)):
            self._files.mv(self.path(name), self.path(to))

    def remove(self, name: str) -> None:
        """Remove a file; if another host was faster, nothing is wrong."""
        with _errors_told(self.path(name)), suppress(FileNotFoundError):
            self._files.rm_file(self.path(name))

    def sweep(self, folder: str, names: Sequence[str]) -> None:
        """Remove, of these, what processes left that died while they wrote."""
        for name in names:
            if UNFINISHED.fullmatch(name):
                with _errors_told(name), suppress(FileNotFoundError, NotImplementedError):
                    modified = self._files.modified(self.path(f"{folder}/{name}"))
                    if modified.timestamp() < time.time() - UNFINISHED_SECONDS:
                        self.remove(f"{folder}/{name}")

    def probe(self) -> None:
        """Raise JournalError unless files can be written, listed, read and removed here.

        A folder of the local machine that is not there yet is created.
        """
        name = unfinished_name()
        self.write("", name, [b"probe"])
        try:
            if self.read(name) != b"probe" or name not in self.names(""):
                raise JournalError(f"{self.path(name)}: what was written cannot be read or listed")
        except FileNotFoundError as error:
            raise JournalError(f"{self.path(name)}: what was written is not there") from error
        finally:
            self.remove(name)

    def path(self, name: str) -> str:
        """Return where a file is, for people to read."""
        return f"{self._root}/{name.strip('/')}".rstrip("/")

    def _write_then_move(self, folder: str, name: str, pieces: Sequence[bytes]) -> None:
        unfinished = f"{folder}/{unfinished_name()}"
        self._files.makedirs(folder, exist_ok=True)
        try:
            self._files.pipe_file(unfinished, b"".join(pieces))
            self._files.mv(unfinished, f"{folder}/{name}")
        except BaseException:
            with suppress(Exception):
                self._files.rm_file(unfinished)
            raise


def hide_user(url: str) -> str:
    """Return a URL without the user and password that it may hold."""
    return _USER.sub("", url)


def told(error: Exception) -> str:
    """Return what an error of a file system says, in one line."""
    words = (isinstance(error, OSError) and error.strerror) or str(error)
    return " ".join(str(words).split()) or type(error).__name__


def _mend(protocol: str, error: Exception) -> str:
    known: dict[str, Any] = known_implementations.get(protocol, {})
    package = str(known.get("class", "")).partition(".")[0]
    if isinstance(error, ImportError) and package not in ("", "fsspec"):
        return f"{protocol}:// needs a package: pip install {package}"
    return told(error)


@contextmanager
def _errors_told(path: str, *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    try:
        yield
    except but:
        raise
    except Exception as error:  # file systems raise what they like: botocore's are no OSErrors
        raise JournalError(f"{path}: {told(error)}") from error
