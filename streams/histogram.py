"""Durations and sizes, counted by bucket. Used by one thread."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

# Prometheus' form of a histogram: upper bounds as texts, and how many values are not above them.
Buckets = list[tuple[str, float]]

Counts = NDArray[np.int64]

LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

# Each bound is at most one per cent above the one before, so a quantile is off by no more than
# that; every millisecond of the first hundred has its own. A day is the last: what is older is so.
DAY_MS = 24 * 60 * 60 * 1000
_STEP = 1.01


class Histogram:
    """How many values lie in each bucket, and their sum. A bucket's bound belongs to it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, as if it had been seen so many times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def buckets(self) -> Buckets:
        """Return the cumulative counts."""
        return list(zip(_names(self._bounds), accumulate(self._counts), strict=True))

    @property
    def sum(self) -> float:
        """The sum of all values."""
        return self._sum


class Latencies:
    """Many latencies at once, in whole milliseconds, for buckets and for quantiles.

    They are counted in some 1,500 fine bins, by numpy: 500 take 20 microseconds.
    """

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(len(BINS), np.int64)
        """How many lie in each fine bin."""
        self._sum_ms = 0

    def observe(self, milliseconds: Sequence[int]) -> None:
        """Count latencies; one that is negative, as the clocks of two hosts differ, is 0."""
        values = np.maximum(np.asarray(milliseconds, np.int64), 0)
        bins = np.searchsorted(BINS, np.minimum(values, DAY_MS))
        self.counts += np.bincount(bins, minlength=len(BINS))
        self._sum_ms += int(values.sum())

    def buckets(self) -> Buckets:
        """Return the cumulative counts for LATENCY_SECONDS."""
        totals = np.cumsum(self.counts)
        ends = np.searchsorted(BINS, [each * 1000 for each in LATENCY_SECONDS], "right") - 1
        counts = [*totals[ends].tolist(), int(totals[-1])]
        return list(zip(_names(LATENCY_SECONDS), counts, strict=True))

    @property
    def sum(self) -> float:
        """The sum of all latencies, seconds."""
        return self._sum_ms / 1000


class Window:
    """Tells what was counted lately from what was counted ever: half a window to a whole one."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._half = seconds / 2
        self._clock = clock
        self._turned = clock()
        self._last = self._before = np.zeros(len(BINS), np.int64)

    def turn(self, counts: Callable[[], Counts]) -> None:
        """Forget what is old. To be called before something is counted."""
        now = self._clock()
        if (gap := now - self._turned) >= self._half:
            self._before, self._last = self._last, counts()
            if gap >= 2 * self._half:
                self._before = self._last
            self._turned = now

    def recent(self, counts: Callable[[], Counts]) -> Counts:
        """Return what was counted lately."""
        self.turn(counts)
        recent: Counts = counts() - self._before
        return recent


def sum_of(latencies: Iterable[Latencies]) -> Counts:
    """Return how many of all these latencies lie in each fine bin."""
    total: Counts = np.zeros(len(BINS), np.int64)
    for each in latencies:
        total += each.counts
    return total


def quantile(counts: Counts, part: float) -> float | None:
    """Return the latency (ms) that a part of those counted do not exceed; None when there are none.

    It is at most one per cent too large.
    """
    totals = np.cumsum(counts)
    if not totals[-1]:
        return None
    return float(BINS[np.searchsorted(totals, max(1.0, part * float(totals[-1])))])


def _names(bounds: Sequence[float]) -> Iterator[str]:
    yield from (str(float(bound)) for bound in bounds)
    yield "+Inf"


def _bins() -> Iterator[int]:
    bound = 0
    while bound < DAY_MS:
        yield bound
        bound = max(bound + 1, int(bound * _STEP))
    yield DAY_MS
    # So that Prometheus' buckets can be told exactly.
    yield from (int(each * 1000) for each in LATENCY_SECONDS)


BINS: Counts = np.unique(np.fromiter(_bins(), np.int64))
"""The upper bounds of the fine bins, milliseconds."""
