"""What the Kafka face counts and measures.

Records are counted by the batch and by the round: the face's thread has little time for each. The
face has no port of its own; it tells the router its figures, and the HTTP face shows them.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from repertory.actors.batch import ModelRef
from repertory.errors import FailureCode
from repertory.streams.histogram import Counts, Window, quantile, sum_of
from repertory.streams.stream_metrics import PREFIX, Figures, StreamMetrics

QUANTILES = {"p50": 0.5, "p99": 0.99}
# Latencies are of the last half to one minute: those of a backlog must not stand there for ever.
WINDOW_SECONDS = 60.0
# What a record that names no declared data type is counted as; senders choose the name freely.
UNKNOWN = "unknown"


class StreamTelemetry:
    """Counts since the face started, histograms, and the latency of the last minute.

    A `stream` is a data type, or `mixed` for topics whose records say theirs. A stage is weighted
    by records: each record of a batch has the times of its batch, so the means of all stages add
    up to that of the latency, but for what is no stage. Used by one thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._figures = Figures()
        # Versions are forgotten; the sums of `as_json` are not.
        self._scored = self._batches = 0
        self._failed: Counter[str] = Counter()
        self._window = Window(WINDOW_SECONDS, clock)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(StreamMetrics(self._figures))
        ProcessCollector(namespace=PREFIX, registry=self._registry)

    def received(self, stream: str, records: int) -> None:
        """Count records that came in."""
        self._figures.received[stream] += records

    def scored(self, data_type: str, model: ModelRef, records: int) -> None:
        """Count results that were written."""
        self._scored += records
        self._figures.scored[data_type].add(model.version, records)

    def failed(
        self, data_type: str, model: ModelRef | None, code: FailureCode, records: int = 1
    ) -> None:
        """Count dead letters that were written; `model` is None when none was asked.

        An UNKNOWN_DATA_TYPE is not counted by the name that its sender made up.
        """
        self._failed[code.value] += records
        name = UNKNOWN if code is FailureCode.UNKNOWN_DATA_TYPE else data_type
        version = model.version if model is not None else 0
        self._figures.failed[name].add(version, records, code.value)

    def batch(
        self, data_type: str, records: int, *, queue: float, decode: float, score: float
    ) -> None:
        """Note a batch that was scored: seconds that it waited, was decoded, was scored."""
        self._batches += 1
        self._figures.batches[data_type].observe(records)
        stages = self._figures.stages
        stages[data_type, "queue"].observe(queue, records)
        stages[data_type, "decode"].observe(decode, records)
        stages[data_type, "score"].observe(score, records)

    def credit_waited(self, stream: str, seconds: float) -> None:
        """Note that partitions were paused, or a batch waited, until there was credit again."""
        self._figures.credit_waits[stream] += 1
        self._figures.credit_wait_seconds[stream] += seconds

    def acknowledged(self, stream: str, *, produce: float, latencies_ms: Sequence[int]) -> None:
        """Note that the broker acknowledged a round of results.

        `produce` is seconds from writing to now; the latency of each record is milliseconds from
        its timestamp to now.
        """
        if not latencies_ms:
            return
        self._window.turn(self._counts)
        self._figures.latencies[stream].observe(latencies_ms)
        self._figures.stages[stream, "produce"].observe(produce, len(latencies_ms))

    def transaction(self, *, committed: bool, seconds: float) -> None:
        """Note a transaction that ended."""
        self._figures.transactions["committed" if committed else "aborted"] += 1
        self._figures.transaction_seconds.observe(seconds)

    def gauges(
        self,
        *,
        in_flight: Mapping[str, int],
        queued: Mapping[str, int],
        lag: Mapping[tuple[str, int], int],
        outstanding: int,
    ) -> None:
        """Set what is so just now: batches in flight, records queued, lag, results outstanding."""
        self._figures.in_flight, self._figures.queued = in_flight, queued
        self._figures.lag, self._figures.outstanding = lag, outstanding

    def exposition(self) -> str:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry).decode()

    def as_json(self) -> dict[str, Any]:
        """Return the sums; latencies are None while there is nothing to tell."""
        recent = self._window.recent(self._counts)
        return {
            "records": self._figures.received.total(),
            "scored": self._scored,
            "failed": dict(self._failed),
            "dead_letters": self._failed.total(),
            "batches": self._batches,
            "transactions": dict(self._figures.transactions),
            "latency_ms": {name: quantile(recent, part) for name, part in QUANTILES.items()},
        }

    def _counts(self) -> Counts:
        return sum_of(self._figures.latencies.values())
