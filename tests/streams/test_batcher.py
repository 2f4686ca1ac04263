"""Batching: at once while nobody works, together while somebody does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.streams.batcher import BATCH_BYTES, QUEUE_RECORDS, Batcher
from repertory.streams.claims import Claim
from repertory.streams.record import Record

CLAIM = Claim("t", 0)


def records(count: int, size: int = 10, claim: Claim = CLAIM) -> list[Record]:
    return [Record(claim, offset, None, bytes(size), 0, 0) for offset in range(count)]


def test_nothing_is_due_while_there_is_nothing() -> None:
    assert Batcher(10, 0.005).due_in(0, idle=True) is None


def test_a_single_record_is_due_at_once_while_nobody_works() -> None:
    batcher = Batcher(10, 0.005)
    batcher.add(records(1), 100)
    assert batcher.due_in(100, idle=True) == 0


def test_a_record_waits_for_others_no_longer_than_the_delay_while_somebody_works() -> None:
    batcher = Batcher(10, 0.005)
    batcher.add(records(1), 100)
    batcher.add(records(1), 100.004)
    assert batcher.due_in(100.001, idle=False) == pytest.approx(0.004)
    assert batcher.due_in(100.005, idle=False) == 0


def test_a_full_batch_is_due_at_once() -> None:
    batcher = Batcher(10, 0.005)
    batcher.add(records(10), 100)
    assert batcher.due_in(100, idle=False) == 0


@given(st.lists(st.integers(0, BATCH_BYTES * 2), max_size=8), st.integers(1, 5))
def test_batches_hold_all_records_in_order_and_keep_to_their_limits(
    sizes: list[int], most: int
) -> None:
    batcher = Batcher(most, 0)
    queued = [Record(CLAIM, n, None, bytes(size), 0, 0) for n, size in enumerate(sizes)]
    batcher.add(queued, 0)
    batches = []
    while len(batcher):
        batches.append(batcher.take())
    assert [record for batch in batches for record in batch] == queued
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or sum(record.size for record in batch) <= BATCH_BYTES


def test_a_queue_that_is_full_has_room_again_when_it_is_half_empty() -> None:
    batcher = Batcher(1024, 0)
    batcher.add(records(8 * 1024), 0)
    assert batcher.full
    for _ in range(4):
        assert not batcher.has_room
        batcher.take()
    assert batcher.has_room


def test_large_records_fill_the_queue_sooner() -> None:
    batcher = Batcher(1024, 0)
    batcher.add(records(8, BATCH_BYTES), 0)
    assert len(batcher) < QUEUE_RECORDS
    assert batcher.full


def test_the_records_of_a_lost_partition_are_taken_out() -> None:
    batcher, lost, kept = Batcher(10, 0), Claim("t", 1), Claim("t", 2)
    for claim in (lost, kept):
        for record in records(3, claim=claim):
            claim.take(record.offset)
            batcher.add([record], 0)
    batcher.discard([lost])
    assert [record.claim for record in batcher.take()] == [kept] * 3
    assert lost.settled
    assert not kept.settled
