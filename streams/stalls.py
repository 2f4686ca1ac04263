"""Streams that have something to do, and get nothing done. Pure."""

import time
from collections.abc import Callable
from dataclasses import dataclass

STALLED_SECONDS = 15.0


@dataclass(slots=True)
class _Progress:
    done: object
    since: float


class Stalls:
    """Tells a stream that stands still from one that is slow, or has nothing to do."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._progress: dict[str, _Progress] = {}

    def seconds(self, stream: str, *, done: object, waiting: bool) -> float | None:
        """Return for how long a stream has stood still; None while it has not, for long.

        `done` is anything that changes when a record is done; `waiting` tells whether there are
        records that are not.
        """
        now = self._clock()
        last = self._progress.get(stream)
        if last is None or last.done != done or not waiting:
            self._progress[stream] = _Progress(done, now)
            return None
        still = now - last.since
        return still if still > STALLED_SECONDS else None
