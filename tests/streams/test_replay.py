"""Replaying files of records."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.config import DataType, Kafka
from repertory.errors import ConfigError, InvalidRequest, Unavailable
from repertory.protos.winerecord_pb2 import WineRecord
from repertory.streams.columns import RowEncoder
from repertory.streams.replay import BURST_SECONDS, Progress, Replay, TokenBucket, replay
from repertory.streams.tables import count_rows, read_rows

World = Any  # tests/streams/conftest.py has it
WINE = "repertory.protos.winerecord_pb2:WineRecord"
DATA_TYPE = DataType(message=WINE, features=("pH",))
NOWHERE = Kafka(bootstrap_servers="127.0.0.1:1")


def file_of(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content)
    return path


async def run(file: Path, kafka: Kafka = NOWHERE, **changes: Any) -> Progress:
    what = Replay(file, changes.pop("topic", "t"), "wine", **changes)
    return await replay(what, kafka=kafka, data_type=DATA_TYPE)


# --- the whole of it


async def test_the_wine_data_is_replayed_with_names_types_and_times(
    world: World, wine_data: Path
) -> None:
    world.create_topics()
    before = time.time() * 1000
    done = await run(wine_data, world.config.kafka, topic=world.topic("wine"))
    assert (done.sent, done.acknowledged, done.failed, done.total) == (1599, 1599, 0, 1599)
    messages = sorted(world.read("wine"), key=lambda message: int(message.key()))
    wines = [WineRecord.FromString(message.value()) for message in messages]
    assert len(wines) == 1599
    assert (wines[0].fixed_acidity, wines[0].pH, wines[0].alcohol) == (7.4, 3.51, 9.4)
    assert {wine.dataType for wine in wines} == {"wine"}
    assert all(before - 1 <= wine.ts <= time.time() * 1000 for wine in wines)


async def test_a_replayed_file_is_scored(world: World, wine_data: Path) -> None:
    world.create_topics()
    world.start_face()
    await run(wine_data, world.config.kafka, topic=world.topic("wine"))
    world.wait_consumed()
    assert world.count("results") == 1599


async def test_the_rate_is_kept_and_the_replay_begins_again_until_stopped(
    world: World, tmp_path: Path
) -> None:
    world.create_topics()
    file = file_of(tmp_path, "w.csv", "pH,name\n3.1,a\n3.2,b\n")
    stop, seen = asyncio.Event(), list[Progress]()

    def watch(progress: Progress) -> None:
        seen.append(progress)
        if progress.sent >= 100:
            stop.set()

    what = Replay(
        file, world.topic("wine"), "wine", rate=200, key="name", loop=True, ignore=("name",)
    )
    began = time.monotonic()
    await replay(what, kafka=world.config.kafka, data_type=DATA_TYPE, progress=watch, stop=stop)
    assert time.monotonic() - began >= 0.45
    assert len(seen) > 2
    assert {message.key() for message in world.read("wine")} == {b"a", b"b"}


async def test_brokers_that_do_not_answer_are_told(tmp_path: Path) -> None:
    file = file_of(tmp_path, "w.csv", "pH\n3.1\n")
    kafka = Kafka(bootstrap_servers="127.0.0.1:1", properties={"message.timeout.ms": 100})
    with pytest.raises(Unavailable, match="the brokers did not take the records: "):
        await run(file, kafka)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("pH,colour\n3,red\n", r"row 1: column 'colour' is not a field of WineRecord, which has"),
        ("pH\n3\nsour\n", r"row 2: column 'pH': 'sour' is not a value of the field pH"),
        ("pH,alcohol\n3\n", r"line 2: as many cells as there are columns \(2\) are expected"),
        ("pH\n", r"has no rows"),
    ],
)
async def test_a_file_that_is_not_right_is_told_with_its_row(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await run(file_of(tmp_path, "w.csv", content))


# --- rows


def test_rows_are_the_same_from_every_format(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    arrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    parquet.write_table(arrow.table({"pH": [3.5, 3.6]}), tmp_path / "w.parquet")
    file_of(tmp_path, "w.jsonl", '{"pH": 3.5}\n\n{"pH": 3.6}\n')
    file_of(tmp_path, "w.csv", '"pH"\n3.5\n3.6\n')
    file_of(tmp_path, "semicolons.csv", '"pH";"fixed acidity"\n3.5;7\n3.6;7\n')
    encoder = RowEncoder(WINE, ignore=["fixed acidity"])
    for path in tmp_path.iterdir():
        records = [WineRecord.FromString(encoder.encode(row)) for row in read_rows(path)]
        assert [record.pH for record in records] == [3.5, 3.6], path
        assert count_rows(path) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.xlsx", "", r"not a known format; known endings: \.csv"),
        ("w.jsonl", '{"pH": 3}\n{', r"line 2: is not JSON"),
        ("w.jsonl", "[1]\n", r"line 1: an object is expected"),
        ("w.parquet", "no", r"is not Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        list(read_rows(file_of(tmp_path, name, content)))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read: No such file"):
        list(read_rows(tmp_path / "w.csv"))


# --- columns


@pytest.mark.parametrize(
    "name", ["fixed_acidity", "fixed acidity", "fixedAcidity", "FIXED-ACIDITY"]
)
def test_all_spellings_of_a_name_are_one(name: str) -> None:
    encoder = RowEncoder(WINE, ignore=())
    assert WineRecord.FromString(encoder.encode({name: "7.5"})).fixed_acidity == 7.5


def test_empty_cells_leave_fields_unset_and_defaults_give_way_to_the_row() -> None:
    encoder = RowEncoder(WINE, ignore=())
    row = {"pH": "", "alcohol": None, "ts": "17"}
    found = WineRecord.FromString(encoder.encode(row, dataType="wine", ts=1, other=3))
    assert found == WineRecord(dataType="wine", ts=17)


def test_a_message_that_cannot_be_imported_is_told() -> None:
    with pytest.raises(ConfigError, match="message 'nowhere:X': nowhere cannot be imported"):
        RowEncoder("nowhere:X", ignore=())


# --- the rate


@given(
    st.floats(1, 10_000),
    st.lists(st.floats(0, 5, allow_subnormal=False), min_size=1, max_size=30),
)
def test_no_more_than_the_rate_and_one_burst_are_sent(rate: float, pauses: list[float]) -> None:
    bucket, now, sent = TokenBucket(rate, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        bucket.fill(now)
        at_once = 0
        while bucket.take():
            at_once += 1
        assert at_once <= max(1.0, rate * BURST_SECONDS)
        sent += at_once
        assert sent <= rate * now + 1e-6 * rate + 1


def test_a_rate_must_be_over_zero() -> None:
    with pytest.raises(InvalidRequest, match="a rate of 0 records a second"):
        TokenBucket(0, 0.0)
