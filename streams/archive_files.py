"""An archive of Parquet files in a folder, local or at any fsspec URL.

`URL/DATA_TYPE/2026-11-23/NODE-NUMBER.parquet`: a file for each segment of a node's spool, by the
day (UTC) on which the segment was begun. A segment that is archived again replaces its file.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from repertory.actors.decoy_rows import COLUMNS, Rows
from repertory.streams.archive_place import ArchiveFailed, Piece

ENDING = ".parquet"
# A segment is sealed a few seconds after it was begun, or later by an actor that is held up; and
# clocks are set.
SLACK_US = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FileArchive:
    """The files below a folder. Raises ArchiveFailed where it cannot be, or pyarrow is missing."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._arrow, self._parquet = _pyarrow()
        with self._told():
            self._files, self._root = url_to_fs(url)
        arrow, text = self._arrow, self._arrow.string()
        numbers = dict.fromkeys(("policy_version", "model_version"), arrow.int64())
        types = {
            **dict.fromkeys(COLUMNS, text),
            **numbers,
            "row": arrow.int32(),
            "archived_us": arrow.timestamp("us", "UTC"),
            "record": arrow.binary(),
            "asked": arrow.list_(text),
            "value": arrow.float64(),
            "labels": arrow.list_(text),
            "probabilities": arrow.list_(arrow.float64()),
        }
        self._schema = arrow.schema(list(types.items()))

    def write(self, piece: Piece, rows: Rows) -> None:
        """Write a segment's file, or replace it. It is there whole or not at all, if local."""
        columns = [getattr(rows, name) for name in COLUMNS]
        arrays = [
            self._arrow.array(column, each.type)
            for column, each in zip(columns, self._schema, strict=True)
        ]
        buffer = io.BytesIO()
        table = self._arrow.table(arrays, schema=self._schema)
        self._parquet.write_table(table, buffer, compression="zstd")
        path = f"{self._root}/{piece.data_type}/{_day(piece.number)}/{piece.name}{ENDING}"
        with self._told():
            self._put(path, buffer.getbuffer())

    def pieces(self, data_type: str, *, since_us: int = 0, until_us: int) -> list[str]:
        """Return the paths of the files that may hold inputs of a time, the oldest first."""
        first = _day(max(0, since_us - SLACK_US))
        with self._told():
            folder = f"{self._root}/{data_type}"
            self._files.invalidate_cache()
            if not self._files.isdir(folder):
                return []
            days = [day for day in self._files.ls(folder, detail=False) if _name(day) >= first]
            found = [
                path
                for day in days
                if self._files.isdir(day)
                for path in self._files.ls(day, detail=False)
                if _name(path).endswith(ENDING) and not _name(path).startswith(".")
            ]
        return sorted((path for path in found if _number(path) - SLACK_US <= until_us), key=_number)

    def read_piece(self, path: str, *, since_us: int, until_us: int) -> Rows:
        """Return the inputs of a time in a file."""
        with self._told(path), self._files.open(path, "rb") as file:
            table = self._parquet.read_table(file, columns=list(COLUMNS))
            stamps = table.column("archived_us").cast(self._arrow.int64())
            place = table.schema.get_field_index("archived_us")
            columns = table.set_column(place, "archived_us", stamps).to_pydict()
        rows = Rows(*(columns[name] for name in COLUMNS))
        wanted = [
            place for place, moment in enumerate(rows.archived_us) if since_us <= moment <= until_us
        ]
        return rows if len(wanted) == len(rows) else rows.part(wanted)

    def read(self, data_type: str, *, since_us: int, until_us: int) -> Iterator[Rows]:
        """Yield the inputs of a time, file by file."""
        for path in self.pieces(data_type, since_us=since_us, until_us=until_us):
            yield self.read_piece(path, since_us=since_us, until_us=until_us)

    def _put(self, path: str, content: memoryview) -> None:
        folder, _, name = path.rpartition("/")
        self._files.makedirs(folder, exist_ok=True)
        if isinstance(self._files, LocalFileSystem):
            _put_local(Path(folder), name, content)
        else:
            self._files.pipe_file(path, bytes(content))

    @contextmanager
    def _told(self, path: str = "") -> Iterator[None]:
        try:
            yield
        except Exception as error:  # file systems of fsspec, and pyarrow, raise what they like
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ArchiveFailed(f"the archive {path or self._url}: {said}") from error


def piece_name(path: str) -> str:
    """Return the name of the segment that a file has."""
    return _name(path).removesuffix(ENDING)


def _put_local(folder: Path, name: str, content: memoryview) -> None:
    unfinished = folder / f".{name}.unfinished"
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / name)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ArchiveFailed(
            "an archive of Parquet files needs pyarrow: pip install 'repertory[parquet]',"
            " or set decoy.topic"
        ) from error
    return pyarrow, parquet


def _day(number: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=number):%Y-%m-%d}"


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _number(path: str) -> int:
    digits = piece_name(path).rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0
