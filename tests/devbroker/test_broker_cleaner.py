"""Retention and compaction of a log."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.devbroker.conftest import Clock, Pair, make_batch

from repertory.streams.devbroker.batch import read_header
from repertory.streams.devbroker.cleaner import compact, plan, retain
from repertory.streams.devbroker.partition import Partition
from repertory.streams.devbroker.records import read_records, readable

OpenPartition = Callable[..., Partition]
TRANSACTIONAL, LZ4 = 0x10, 3
HOUR = 3600.0


@pytest.fixture
def compacted(open_partition: OpenPartition, clock: Clock) -> Callable[..., Partition]:
    """Return a function that opens a compacted log, whose segments end when we say so."""

    def compacted(**config: str) -> Partition:
        settings = {"min_cleanable_dirty_ratio": "0", "delete_retention_ms": "60000"}
        return open_partition(cleanup_policy="compact", **{**settings, **config})

    return compacted


def put(log: Partition, *pairs: tuple[str, str | None], roll: bool = True, **more: Any) -> None:
    encoded: list[Pair] = [
        (key.encode(), None if value is None else value.encode()) for key, value in pairs
    ]
    log.append(make_batch(encoded, **more))
    if roll:
        log.roll()


def clean(log: Partition) -> bool:
    """Compact what is due; tell whether something was."""
    compaction = plan(log)
    if compaction is not None:
        compact(compaction)
        compaction.install()
    return compaction is not None


def rows(log: Partition) -> list[tuple[int, str, str | None]]:
    """Return offset, key and value of each readable record."""
    found = []
    data = log.read(0, log.end, 1 << 30, at_least_one=True)
    while data:
        header = read_header(data)
        if readable(header) and not header.control:
            for record in read_records(header, data):
                value = record.rest[2 + len(record.key or b"") : -1].decode()
                found.append(
                    (
                        record.offset,
                        (record.key or b"").decode(),
                        None if record.tombstone else value,
                    )
                )
        data = data[header.size :]
    return found


def test_of_each_key_the_last_record_stays_at_its_offset(
    compacted: OpenPartition,
) -> None:
    log = compacted()
    put(log, ("a", "1"), ("b", "1"))
    put(log, ("a", "2"), ("c", "1"))
    put(log, ("b", "2"))
    assert clean(log)
    expected = [(2, "a", "2"), (3, "c", "1"), (4, "b", "2")]
    assert rows(log) == expected
    reopened = compacted()
    assert (rows(reopened), reopened.end) == (expected, 5)


def test_the_active_segment_is_left_alone_and_hides_nothing(compacted: OpenPartition) -> None:
    log = compacted()
    put(log, ("a", "1"))
    put(log, ("a", "2"), roll=False)
    clean(log)
    assert rows(log) == [(0, "a", "1"), (1, "a", "2")]


def test_an_old_active_segment_is_closed_and_compacted(
    compacted: OpenPartition, clock: Clock
) -> None:
    log = compacted(segment_ms="1000")
    log.active.born = clock.now
    put(log, ("a", "1"), ("a", "2"), roll=False)
    assert not clean(log)
    clock.now += 2
    assert clean(log)
    assert rows(log) == [(1, "a", "2")]


def test_small_segments_are_joined(compacted: OpenPartition, tmp_path: Path) -> None:
    log = compacted()
    for number in range(30):
        put(log, (f"k{number % 3}", str(number)))
    clean(log)
    assert [offset for offset, _, _ in rows(log)] == [27, 28, 29]
    assert len(log.segments) == 2
    assert len(list((tmp_path / "log").iterdir())) == 2
    assert log.append(make_batch([(b"k", b"v")])) == 30


def test_a_reader_in_a_gap_gets_what_follows_it(compacted: OpenPartition) -> None:
    log = compacted()
    for number in range(5):
        put(log, ("a", str(number)))
    clean(log)
    data = log.read(1, log.end, 1, at_least_one=True)
    assert read_header(data).base_offset == 4


def test_a_tombstone_hides_at_once_and_goes_after_its_time(
    compacted: OpenPartition, clock: Clock
) -> None:
    log = compacted()
    put(log, ("a", "1"), ("b", "1"))
    put(log, ("a", None))
    clean(log)
    assert rows(log) == [(1, "b", "1"), (2, "a", None)]
    log = compacted()  # the time is kept in the log
    clock.now += 61
    assert clean(log)
    assert rows(log) == [(1, "b", "1")]
    assert not clean(log)


def test_a_tombstone_beside_a_living_record_does_not_keep_the_cleaner_busy(
    compacted: OpenPartition, clock: Clock
) -> None:
    log = compacted()
    put(log, ("a", None), ("b", "1"))
    clean(log)
    clock.now += 61
    clean(log)
    assert rows(log) == [(1, "b", "1")]
    clock.now += HOUR
    assert not clean(log)


def test_what_cannot_be_unpacked_stays_and_so_do_later_tombstones(
    compacted: OpenPartition, clock: Clock
) -> None:
    log = compacted()
    unreadable = make_batch([(b"a", b"1")], attributes=LZ4)
    log.append(unreadable)
    put(log, ("b", "1"))
    put(log, ("b", None), ("a", None))
    clean(log)
    clock.now += 61
    put(log, ("c", "1"))
    clean(log)
    assert log.read(0, 1, 1, at_least_one=True)[16:] == unreadable[16:]
    assert rows(log) == [(2, "b", None), (3, "a", None), (4, "c", "1")]


def test_aborted_records_go_and_committed_ones_stay(compacted: OpenPartition) -> None:
    log = compacted()
    put(log, ("a", "aborted"), producer=(7, 0, 0), attributes=TRANSACTIONAL)
    log.end_transaction(7, 0, commit=False)
    put(log, ("b", "kept"), producer=(7, 0, 1), attributes=TRANSACTIONAL)
    log.end_transaction(7, 0, commit=True)
    log.roll()
    clean(log)
    assert rows(log) == [(2, "b", "kept")]
    assert compacted().stable_end == log.end == 4


def test_an_aborted_record_hides_no_earlier_one(compacted: OpenPartition) -> None:
    log = compacted()
    put(log, ("a", "good"))
    put(log, ("a", "aborted"), producer=(7, 0, 0), attributes=TRANSACTIONAL)
    log.end_transaction(7, 0, commit=False)
    log.roll()
    clean(log)
    assert rows(log) == [(0, "a", "good")]


def test_nothing_is_touched_from_an_open_transaction_on(compacted: OpenPartition) -> None:
    log = compacted()
    put(log, ("a", "1"), ("a", "2"))
    put(log, ("b", "1"), producer=(7, 0, 0), attributes=TRANSACTIONAL)
    put(log, ("b", "2"))
    put(log, ("b", "3"))
    clean(log)
    assert rows(log) == [(1, "a", "2"), (2, "b", "1"), (3, "b", "2"), (4, "b", "3")]


def test_a_producer_is_still_known_when_its_records_are_gone(compacted: OpenPartition) -> None:
    log = compacted()
    put(log, ("a", "1"), producer=(7, 0, 0))
    put(log, ("a", "2"))
    clean(log)
    assert rows(log) == [(1, "a", "2")]
    log = compacted()
    assert log.append(make_batch([(b"a", b"1")], producer=(7, 0, 0))) == 0  # stored before


def test_gzip_stays_gzip(compacted: OpenPartition) -> None:
    log = compacted()
    put(log, ("a", "1"), ("b", "1"), attributes=1)
    put(log, ("a", "2"))
    clean(log)
    assert rows(log) == [(1, "b", "1"), (2, "a", "2")]
    assert read_header(log.read(0, 2, 1, at_least_one=True)).compression == 1


def test_a_sudden_end_while_files_are_replaced_does_no_harm(
    compacted: OpenPartition, tmp_path: Path
) -> None:
    log = compacted()
    for number in range(6):
        put(log, (f"k{number % 2}", str(number)))
    before = {path: path.read_bytes() for path in (tmp_path / "log").glob("*.log")}
    clean(log)
    expected = rows(log)
    first = min(before)
    for path, data in before.items():
        if path != first:
            path.write_bytes(data)  # as if it had not been deleted yet
    (tmp_path / "log" / "x.cleaned").write_bytes(b"half")
    log = compacted()
    assert (rows(log), log.end) == (expected, 6)
    assert {path.name for path in (tmp_path / "log").iterdir()} == {
        segment.path.name for segment in log.segments
    }
    assert len(log.segments) == 2


def test_a_log_that_changed_meanwhile_is_not_overwritten(compacted: OpenPartition) -> None:
    log = compacted()
    put(log, ("a", "1"))
    put(log, ("a", "2"))
    compaction = plan(log)
    assert compaction is not None
    compact(compaction)
    log.delete_before(1)
    compaction.install()
    assert rows(log) == [(1, "a", "2")]


def test_little_dirt_is_left_for_later(compacted: OpenPartition) -> None:
    log = compacted(min_cleanable_dirty_ratio="0.5")
    for number in range(20):
        put(log, (f"k{number}", str(number)))
    assert clean(log)
    put(log, ("k0", "new"))
    assert not clean(log)


def test_young_records_are_left_for_later(compacted: OpenPartition, clock: Clock) -> None:
    log = compacted(min_compaction_lag_ms="60000")
    put(log, ("a", "1"), ("a", "2"), timestamps=[int(clock.now * 1000)] * 2)
    assert not clean(log)
    clock.now += 61
    assert clean(log)


def test_old_segments_are_dropped(open_partition: OpenPartition, clock: Clock) -> None:
    log = open_partition(retention_ms="60000", segment_ms="1000")
    now = int(clock.now * 1000)
    put(log, ("a", "old"), timestamps=[now - 120_000])
    put(log, ("a", "new"), timestamps=[now])
    retain(log)
    assert rows(log) == [(1, "a", "new")]
    assert (log.start, open_partition().start) == (1, 1)


def test_the_active_segment_is_dropped_when_it_is_old_itself(
    open_partition: OpenPartition, clock: Clock
) -> None:
    log = open_partition(retention_ms="60000", segment_ms="1000")
    log.active.born = clock.now
    put(log, ("a", "old"), timestamps=[int(clock.now * 1000) - 120_000], roll=False)
    retain(log)
    assert log.start == 0
    clock.now += 2
    retain(log)
    assert (log.start, log.end, rows(log)) == (1, 1, [])
    assert log.append(make_batch([(b"a", b"next")])) == 1


def test_a_log_is_kept_to_its_size(open_partition: OpenPartition) -> None:
    log = open_partition(retention_bytes="500", retention_ms="-1")
    for number in range(20):
        put(log, ("a", str(number)))
    retain(log)
    assert 500 <= sum(segment.size for segment in log.segments) < 600


def test_retention_waits_for_open_transactions(open_partition: OpenPartition) -> None:
    log = open_partition(retention_ms="60000")
    put(log, ("a", "1"), timestamps=[0], producer=(7, 0, 0), attributes=TRANSACTIONAL)
    put(log, ("a", "2"), timestamps=[0])
    retain(log)
    assert log.start == 0
    log.end_transaction(7, 0, commit=True)
    retain(log)
    assert log.start == 2


def test_a_compacted_log_is_kept_for_ever(open_partition: OpenPartition) -> None:
    log = open_partition(cleanup_policy="compact", retention_ms="1")
    put(log, ("a", "1"), timestamps=[0])
    retain(log)
    assert rows(log) == [(0, "a", "1")]


def test_times_fit_what_is_left(compacted: OpenPartition) -> None:
    log = compacted()
    put(log, ("a", "1"), ("b", "1"), timestamps=[9000, 1000])
    put(log, ("a", "2"), timestamps=[5000])
    clean(log)
    assert log.latest_timestamp() == (2, 5000)
    assert log.offset_for(5001) == (-1, -1)
