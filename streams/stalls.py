"""Streams that have something to do, and get nothing done. Pure."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from repertory.errors import FailureCode

# A batch may take seconds, and a rebalance, too; a data type of which no record at all is done for
# this long is one that somebody should look at.
STALLED_SECONDS = 15.0

_WAITS = {
    FailureCode.NO_MODEL: "no model serves; publish one",
    FailureCode.UNAVAILABLE: "the router or the serving actor is away; see the node's log",
    FailureCode.OVERLOADED: "the serving actor has too much to do",
    FailureCode.DEADLINE_EXCEEDED: (
        "the serving actor does not answer within kafka.deadline_ms;"
        " its model hangs, or is too slow for max_batch"
    ),
}


@dataclass(slots=True)
class _Progress:
    done: object
    at: float  # of the clock
    since: datetime  # the same, for people


class Stalls:
    """Tells a stream that stands still from one that is slow, or has nothing to do."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._now = now
        self._progress: dict[str, _Progress] = {}

    def since(self, stream: str, *, done: object, waiting: bool) -> datetime | None:
        """Return since when a stream has stood still; None while it has not, for long.

        `done` is anything that changes when a record is done; `waiting` tells whether there are
        records that are not.
        """
        at = self._clock()
        last = self._progress.get(stream)
        if last is None or last.done != done or not waiting:
            self._progress[stream] = _Progress(done, at, self._now())
            return None
        return last.since if at - last.at > STALLED_SECONDS else None


def explain(
    waits: Mapping[str, FailureCode],
    *,
    unanswered: int,
    outstanding: int,
    unread: Collection[tuple[str, int]],
) -> str:
    """Return why a stream stands still, as far as can be told from here.

    `waits` are the data types whose records wait, with what they were refused for last;
    `unanswered` batches are with the serving actor; `outstanding` messages are with the brokers;
    of the partitions `unread` records are still to come.
    """
    if waits:
        return ", ".join(
            f"{name} waits: {_WAITS.get(code, 'the serving actor fails')} ({code})"
            for name, code in waits.items()
        )
    if unanswered:
        return "the serving actor does not answer; it hangs, or its model is slow or stuck"
    if outstanding:
        return "the brokers do not acknowledge results; see their logs"
    places = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(unread)[:3])
    more = ", …" if len(unread) > 3 else ""
    return f"the brokers send none of the records that wait in {places}{more}; see their logs"
