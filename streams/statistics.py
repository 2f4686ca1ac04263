"""What the Kafka face counts and measures."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from ddsketch import DDSketch

from repertory.errors import FailureCode

RELATIVE_ACCURACY = 0.01
QUANTILES = {"p50": 0.5, "p99": 0.99}
# Latencies are of the last half to one minute: those of a backlog must not stand there for ever.
WINDOW_SECONDS = 30.0


class StreamStatistics:
    """Counts since the face started, and the latency of the last minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.records = 0
        self.scored = 0
        self.batches = 0
        self.dead_letters = 0
        self.rebalances = 0
        self.failed: Counter[str] = Counter()
        self._turned = clock()
        self._latency = DDSketch(RELATIVE_ACCURACY)
        self._before = DDSketch(RELATIVE_ACCURACY)

    def count_failure(self, code: FailureCode) -> None:
        """Count a record that became a dead letter."""
        self.dead_letters += 1
        self.failed[code.value] += 1

    def acknowledged(self, latencies: Iterable[int]) -> None:
        """Note from a record's timestamp to the acknowledgement of its result, milliseconds."""
        self._turn()
        for latency, count in Counter(latencies).items():
            self._latency.add(max(0, latency), count)

    def as_json(self) -> dict[str, Any]:
        """Return everything; latencies are None while there is nothing to tell."""
        self._turn()
        recent = DDSketch(RELATIVE_ACCURACY)
        recent.merge(self._before)
        recent.merge(self._latency)
        return {
            "records": self.records,
            "scored": self.scored,
            "failed": dict(self.failed),
            "dead_letters": self.dead_letters,
            "batches": self.batches,
            "rebalances": self.rebalances,
            "latency_ms": {
                name: recent.get_quantile_value(quantile) for name, quantile in QUANTILES.items()
            },
        }

    def _turn(self) -> None:
        if (now := self._clock()) - self._turned >= WINDOW_SECONDS:
            gap = now - self._turned >= 2 * WINDOW_SECONDS
            self._before = DDSketch(RELATIVE_ACCURACY) if gap else self._latency
            self._latency = DDSketch(RELATIVE_ACCURACY)
            self._turned = now
