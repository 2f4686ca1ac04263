"""When a stream counts as standing still, and what is said of it."""

from datetime import UTC, datetime, timedelta

import pytest

from repertory.errors import FailureCode
from repertory.streams.stalls import STALLED_SECONDS, Stalls, explain

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stalls(clock: Clock) -> Stalls:
    return Stalls(clock, clock.now)


def test_a_stream_stands_still_when_records_wait_and_none_is_done_for_long(
    stalls: Stalls, clock: Clock
) -> None:
    assert stalls.since("wine", done=7, waiting=True) is None
    clock.seconds = STALLED_SECONDS
    assert stalls.since("wine", done=7, waiting=True) is None
    clock.seconds += 1
    assert stalls.since("wine", done=7, waiting=True) == NOON


def test_the_time_since_when_does_not_change_while_it_stands_still(
    stalls: Stalls, clock: Clock
) -> None:
    stalls.since("wine", done=7, waiting=True)
    clock.seconds = 2 * STALLED_SECONDS
    first = stalls.since("wine", done=7, waiting=True)
    clock.seconds = 3 * STALLED_SECONDS
    assert stalls.since("wine", done=7, waiting=True) == first


@pytest.mark.parametrize(("done", "waiting"), [(8, True), (7, False)])
def test_a_record_that_is_done_or_nothing_to_do_ends_it(
    stalls: Stalls, clock: Clock, done: int, waiting: bool
) -> None:
    stalls.since("wine", done=7, waiting=True)
    clock.seconds = 2 * STALLED_SECONDS
    assert stalls.since("wine", done=done, waiting=waiting) is None
    assert stalls.since("wine", done=done, waiting=True) is None


def test_what_had_nothing_to_do_for_hours_does_not_stand_still_at_its_first_record(
    stalls: Stalls, clock: Clock
) -> None:
    stalls.since("wine", done=7, waiting=False)
    clock.seconds = 7200
    stalls.since("wine", done=7, waiting=False)
    clock.seconds += 1
    assert stalls.since("wine", done=7, waiting=True) is None


def test_streams_stand_still_each_by_itself(stalls: Stalls, clock: Clock) -> None:
    stalls.since("wine", done=7, waiting=True)
    clock.seconds = STALLED_SECONDS + 1
    assert stalls.since("beer", done=7, waiting=True) is None
    assert stalls.since("wine", done=7, waiting=True) is not None


def test_what_the_records_were_refused_for_is_the_first_reason() -> None:
    waits = {"wine": FailureCode.NO_MODEL}
    told = explain(waits, unanswered=1, outstanding=1, unread=[("mdata", 0)])
    assert told == "wine waits: no model serves; publish one (no_model)"


@pytest.mark.parametrize(
    ("unanswered", "outstanding", "told"),
    [
        (1, 1, "the serving actor does not answer"),
        (0, 1, "the brokers do not acknowledge results"),
        (0, 0, "the brokers send none of the records that wait in mdata/0, mdata/1, mdata/2, …;"),
    ],
)
def test_the_reason_is_who_has_the_records(unanswered: int, outstanding: int, told: str) -> None:
    unread = [("mdata", partition) for partition in (3, 2, 1, 0)]
    reason = explain({}, unanswered=unanswered, outstanding=outstanding, unread=unread)
    assert reason.startswith(told)
