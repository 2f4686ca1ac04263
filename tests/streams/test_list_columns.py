"""Columns of lists, in files that are replayed, go to repeated fields."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.picture import Picture

from repertory.errors import InvalidRequest
from repertory.streams.columns import RowEncoder
from repertory.streams.tables import read_rows

PICTURE = "tests.fixtures.picture:Picture"
ROWS = [
    {"pixels": [0.0, 0.5], "counts": [1, 2], "exposure": 3.5},
    {"pixels": [], "counts": [3], "exposure": 4.5},
]


def messages(path: Path) -> list[Any]:
    encoder = RowEncoder(PICTURE, ignore=())
    return [Picture.FromString(encoder.encode(row)) for row in read_rows(path)]


def test_lists_of_json_lines_are_encoded(tmp_path: Path) -> None:
    path = tmp_path / "pictures.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    assert messages(path) == [Picture(**row) for row in ROWS]


def test_lists_of_parquet_are_encoded(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    parquet = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    parquet.write_table(arrow.Table.from_pylist(ROWS), tmp_path / "pictures.parquet")
    assert messages(tmp_path / "pictures.parquet") == [Picture(**row) for row in ROWS]


def test_csv_cannot_hold_lists(tmp_path: Path) -> None:
    path = tmp_path / "pictures.csv"
    path.write_text('exposure,pixels\n1,"[0.0, 0.5]"\n')
    with pytest.raises(InvalidRequest, match=r"'pixels': .* takes a list; .* CSV does not"):
        messages(path)


@pytest.mark.parametrize("value", [0.5, {"0": 1}, [[1]], [None], ["x"], "0.5"])
def test_what_is_no_list_of_numbers_is_told(value: object) -> None:
    with pytest.raises(InvalidRequest, match=r"column 'pixels': .* is not a value of the field"):
        RowEncoder(PICTURE, ignore=()).encode({"pixels": value})


def test_a_list_for_a_field_of_one_value_is_told() -> None:
    with pytest.raises(InvalidRequest, match=r"column 'exposure': \[1\] is not a value of"):
        RowEncoder(PICTURE, ignore=()).encode({"exposure": [1]})


def test_a_default_is_not_for_repeated_fields() -> None:
    found = RowEncoder(PICTURE, ignore=()).encode({}, pixels=1, exposure=2)
    assert Picture.FromString(found) == Picture(exposure=2)
