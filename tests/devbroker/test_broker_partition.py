"""A partition's log: what is in it, what survives, what is refused."""

import struct
from collections.abc import Callable

import pytest
from tests.devbroker.conftest import Clock, make_batch, values

from repertory.streams.devbroker.batch import HEADER_SIZE, read_header
from repertory.streams.devbroker.partition import Partition
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.records import read_records
from repertory.streams.devbroker.segment import LogDamaged

OpenPartition = Callable[..., Partition]
EVERYTHING = 1 << 30


def contents(partition: Partition, offset: int = 0) -> list[tuple[int, bytes]]:
    """Return offset and value of each record, read as a consumer does."""
    found: list[tuple[int, bytes]] = []
    data = partition.read(offset, partition.end, EVERYTHING, at_least_one=True)
    place = 0
    while place < len(data):
        header = read_header(data, place)
        if not header.control:
            for record in read_records(header, data[place : place + header.size]):
                found.append((record.offset, record.rest[3:-1]))
        place += header.size
    return found


def refusal(partition: Partition, batch: bytes) -> ErrorCode:
    """Return the code with which the batch is refused; the log stays as it was."""
    before = partition.end
    with pytest.raises(Refused) as caught:
        partition.append(batch)
    assert partition.end == before
    return caught.value.code


def test_batches_get_consecutive_offsets(open_partition: OpenPartition) -> None:
    log = open_partition()
    assert [log.append(make_batch(values("a", "b"))), log.append(make_batch(values("c")))] == [0, 2]
    assert contents(log) == [(0, b"a"), (1, b"b"), (2, b"c")]


def test_a_reader_gets_the_whole_batch_that_holds_its_offset(open_partition: OpenPartition) -> None:
    log = open_partition()
    log.append(make_batch(values("a", "b")))
    log.append(make_batch(values("c")))
    assert contents(log, offset=1) == [(0, b"a"), (1, b"b"), (2, b"c")]
    assert contents(log, offset=2) == [(2, b"c")]


@pytest.mark.parametrize("segment_bytes", ["1024", "1048576"])
def test_a_reader_gets_no_more_than_it_asked_for_but_one_batch(
    open_partition: OpenPartition, segment_bytes: str
) -> None:
    log = open_partition(segment_bytes=segment_bytes)
    batch = make_batch(values("x" * 400))
    for _ in range(10):
        log.append(batch)
    size = len(batch)

    def read(max_bytes: int, *, at_least_one: bool = True) -> int:
        return len(log.read(3, log.end, max_bytes, at_least_one=at_least_one))

    assert read(1) == size
    assert read(1, at_least_one=False) == 0
    assert read(size * 2 + 5) == size * 2
    assert read(size * 2) == size * 2
    assert read(EVERYTHING) == size * 7
    assert len(log.read(3, 5, EVERYTHING, at_least_one=True)) == size * 2


def test_all_is_there_again_after_opening(open_partition: OpenPartition) -> None:
    log = open_partition(segment_bytes="1024")
    for number in range(20):
        log.append(make_batch(values(f"{number:0100d}")))
    before = contents(log)
    assert len(log.segments) > 1
    assert contents(open_partition(segment_bytes="1024")) == before
    assert open_partition().append(make_batch(values("z"))) == 20


def test_a_torn_batch_is_dropped_wherever_it_was_torn(
    open_partition: OpenPartition,
) -> None:
    log = open_partition()
    log.append(make_batch(values("whole")))
    log.append(make_batch(values("torn")))
    path = log.active.path
    whole = path.read_bytes()
    first = read_header(whole).size
    for size in range(first, len(whole)):
        path.write_bytes(whole[:size])
        log = open_partition()
        assert (log.end, path.stat().st_size) == (1, first)
    assert log.append(make_batch(values("new"))) == 1
    assert contents(open_partition()) == [(0, b"whole"), (1, b"new")]


def test_zeros_that_a_power_failure_left_are_dropped(open_partition: OpenPartition) -> None:
    log = open_partition()
    log.append(make_batch(values("whole")))
    with log.active.path.open("ab") as file:
        file.write(bytes(5000))
    assert contents(open_partition()) == [(0, b"whole")]


def test_damage_before_the_last_segment_is_told_not_swallowed(
    open_partition: OpenPartition,
) -> None:
    log = open_partition(segment_bytes="1024")
    for _ in range(5):
        log.append(make_batch(values("x" * 600)))
    path = log.segments[1].path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LogDamaged, match=path.name):
        open_partition()


def test_a_batch_sent_twice_is_stored_once_also_after_opening(
    open_partition: OpenPartition,
) -> None:
    log = open_partition()
    batches = [make_batch(values("a", "b"), producer=(7, 0, 2 * i)) for i in range(5)]
    offsets = [log.append(batch) for batch in batches]
    assert [log.append(batch) for batch in batches] == offsets
    log = open_partition()
    assert [log.append(batch) for batch in batches] == offsets
    assert log.end == 10


def test_a_gap_in_a_producers_numbers_is_refused(open_partition: OpenPartition) -> None:
    log = open_partition()
    log.append(make_batch(values("a"), producer=(7, 0, 0)))
    late = make_batch(values("c"), producer=(7, 0, 2))
    assert refusal(log, late) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_a_duplicate_too_old_to_be_known_is_refused(open_partition: OpenPartition) -> None:
    log = open_partition()
    for sequence in range(9):
        log.append(make_batch(values("a"), producer=(7, 0, sequence)))
    old = make_batch(values("a"), producer=(7, 0, 1))
    assert refusal(log, old) is ErrorCode.DUPLICATE_SEQUENCE_NUMBER


def test_a_new_epoch_begins_at_zero_and_shuts_the_old_one_out(
    open_partition: OpenPartition,
) -> None:
    log = open_partition()
    log.append(make_batch(values("a"), producer=(7, 0, 0)))
    wrong = make_batch(values("b"), producer=(7, 1, 1))
    assert refusal(log, wrong) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    log.append(make_batch(values("b"), producer=(7, 1, 0)))
    zombie = make_batch(values("c"), producer=(7, 0, 1))
    assert refusal(log, zombie) is ErrorCode.INVALID_PRODUCER_EPOCH


def test_sequence_numbers_wrap_round(open_partition: OpenPartition) -> None:
    log = open_partition()
    log.append(make_batch(values("a", "b"), producer=(7, 0, (1 << 31) - 2)))
    assert log.append(make_batch(values("c"), producer=(7, 0, 0))) == 2


TRANSACTIONAL = 0x10


def test_an_open_transaction_holds_back_what_follows(open_partition: OpenPartition) -> None:
    log = open_partition()
    log.append(make_batch(values("plain")))
    log.append(make_batch(values("open"), producer=(7, 0, 0), attributes=TRANSACTIONAL))
    log.append(make_batch(values("behind")))
    assert (log.stable_end, log.end) == (1, 3)
    assert open_partition().stable_end == 1


@pytest.mark.parametrize("commit", [True, False])
def test_only_an_aborted_transaction_is_left_out(
    open_partition: OpenPartition, commit: bool
) -> None:
    log = open_partition()
    log.append(make_batch(values("a"), producer=(7, 0, 0), attributes=TRANSACTIONAL))
    log.end_transaction(7, 0, commit=commit)
    for reopened in (log, open_partition()):
        assert reopened.stable_end == reopened.end == 2
        assert reopened.aborted(0, 1) == ([] if commit else [(7, 0, 1)])
        assert reopened.aborted(2, 9) == []


def test_deleted_records_stay_deleted(open_partition: OpenPartition) -> None:
    log = open_partition(segment_bytes="1024")
    for _ in range(6):
        log.append(make_batch(values("x" * 600)))
    log.delete_before(4)
    log.delete_before(2)
    assert log.start == 4
    reopened = open_partition(segment_bytes="1024")
    assert (reopened.start, reopened.end) == (4, 6)
    assert [offset for offset, _ in contents(reopened, 4)] == [4, 5]


@pytest.mark.parametrize("attributes", [0, 1], ids=["plain", "gzip"])
def test_a_time_leads_to_the_first_record_not_before_it(
    open_partition: OpenPartition, attributes: int
) -> None:
    log = open_partition(segment_bytes="1024")
    for start in (100, 200):
        batch = make_batch(
            values("a", "b", "c"), timestamps=[start, start + 10, start + 20], attributes=attributes
        )
        log.append(batch)
    found = [log.offset_for(timestamp) for timestamp in (0, 105, 120, 121, 221)]
    assert found == [(0, 100), (1, 110), (2, 120), (3, 200), (-1, -1)]
    assert log.latest_timestamp() == (5, 220)


def damaged(batch: bytes, place: int, layout: str, value: int) -> bytes:
    changed = bytearray(batch)
    struct.pack_into(layout, changed, place, value)
    return bytes(changed)


GOOD = make_batch(values("a", "b"))


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        (b"", ErrorCode.CORRUPT_MESSAGE),
        (b"x" * 16, ErrorCode.CORRUPT_MESSAGE),
        (GOOD[: HEADER_SIZE - 1], ErrorCode.CORRUPT_MESSAGE),
        (GOOD[:-1], ErrorCode.CORRUPT_MESSAGE),
        (damaged(GOOD, 8, ">i", -5), ErrorCode.CORRUPT_MESSAGE),
        (damaged(GOOD, 70, ">b", 99), ErrorCode.CORRUPT_MESSAGE),
        (damaged(GOOD, 16, ">b", 1), ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT),
        (GOOD + GOOD, ErrorCode.INVALID_RECORD),
        (damaged(GOOD, 57, ">i", 3), ErrorCode.INVALID_RECORD),
        (damaged(GOOD, 21, ">h", 0x20), ErrorCode.INVALID_RECORD),
        (make_batch(values("x" * 2_000_000)), ErrorCode.MESSAGE_TOO_LARGE),
    ],
)
def test_a_bad_batch_is_refused(
    open_partition: OpenPartition, batch: bytes, code: ErrorCode
) -> None:
    assert refusal(open_partition(), batch) is code


@pytest.mark.parametrize("attributes", [0, 1], ids=["plain", "gzip"])
def test_a_compacted_topic_refuses_records_without_a_key(
    open_partition: OpenPartition, attributes: int
) -> None:
    log = open_partition(cleanup_policy="compact")
    batch = make_batch([(b"k", b"v"), (None, b"v")], attributes=attributes)
    assert refusal(log, batch) is ErrorCode.INVALID_RECORD


def test_a_segment_ends_when_it_is_old(open_partition: OpenPartition, clock: Clock) -> None:
    log = open_partition(segment_ms="1000")
    clock.now = log.active.born
    log.append(make_batch(values("a")))
    clock.now += 2
    log.append(make_batch(values("b")))
    assert [segment.base for segment in log.segments] == [0, 1]


def test_a_batch_that_does_not_fit_on_the_disk_leaves_no_trace(
    open_partition: OpenPartition, full_disk: Callable[[int], None]
) -> None:
    log = open_partition()
    log.append(make_batch(values("a")))
    full_disk(log.active.size + 10)  # room for a part of the batch
    assert refusal(log, make_batch(values("b"))) is ErrorCode.KAFKA_STORAGE_ERROR
    full_disk(1 << 20)
    assert log.append(make_batch(values("c"))) == 1
    assert contents(open_partition()) == [(0, b"a"), (1, b"c")]
