"""Rows of CSV, JSON-lines and Parquet files, one after the other."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from repertory.errors import InvalidRequest

Row = dict[str, Any]  # by column; texts from CSV, other values as their file has them

# A file of this size is read once more, to know how many rows there are.
COUNT_BYTES = 64 * 1024 * 1024


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file, whose name tells its format. Raises InvalidRequest, naming the line."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidRequest(f"{path}: not a known format; known endings: {', '.join(_READERS)}")
    try:
        yield from reader(path)
    except OSError as error:
        raise InvalidRequest(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path}: is not UTF-8: {error}") from error


def count_rows(path: Path) -> int | None:
    """Return how many rows a file has; None for one that is too large to be read twice."""
    if not path.exists() or path.stat().st_size > COUNT_BYTES:
        return None
    return sum(1 for _ in read_rows(path))


def _csv(path: Path) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        head = file.readline()
        file.seek(0)
        # The original wine data has semicolons.
        reader = csv.DictReader(file, delimiter=";" if head.count(";") > head.count(",") else ",")
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise InvalidRequest(
                        f"{path}, line {reader.line_num}: as many cells as there are columns"
                        f" ({len(reader.fieldnames or ())}) are expected"
                    )
                yield row
        except csv.Error as error:
            raise InvalidRequest(f"{path}, line {reader.line_num}: {error}") from error


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InvalidRequest(f"{path}, line {number}: is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise InvalidRequest(f"{path}, line {number}: an object is expected")
            yield row


def _parquet(path: Path) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise InvalidRequest(
            f"{path}: Parquet files need pyarrow: pip install 'repertory[parquet]'"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except ArrowException as error:
        raise InvalidRequest(f"{path}: is not Parquet: {error}") from error


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}
