"""The figures of the Kafka face, and how Prometheus is told of them."""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from repertory.streams.histogram import LATENCY_SECONDS, Histogram, Latencies

PREFIX = "repertory_stream"
# Decoding and scoring a batch often take less than the first bucket of a latency.
STAGE_SECONDS = (0.0001, 0.00025, 0.0005, *LATENCY_SECONDS)
BATCH_RECORDS = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 16384, 65536)
# Each model version is a set of time series: of a data type, so many that scored last are told of.
VERSIONS = 8


class VersionCounts:
    """Records of a data type, by model version (0: none) and failure code; the last few versions.

    A version that is forgotten takes its counts along: sums of rates are right, sums of totals not.
    """

    def __init__(self) -> None:
        self._by_version: OrderedDict[int, Counter[str]] = OrderedDict()

    def add(self, version: int, records: int, code: str = "") -> None:
        """Count records."""
        counts = self._by_version.get(version)
        if counts is None:
            counts = self._by_version[version] = Counter()
            if len(self._by_version) > VERSIONS:
                self._by_version.popitem(last=False)
        self._by_version.move_to_end(version)
        counts[code] += records

    def items(self) -> Iterator[tuple[str, str, int]]:
        """Yield version, code and count."""
        for version, counts in self._by_version.items():
            for code, count in counts.items():
                yield str(version) if version else "", code, count


class Figures:
    """All that is counted and measured: by data type, where nothing else is said."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.scored: defaultdict[str, VersionCounts] = defaultdict(VersionCounts)
        self.failed: defaultdict[str, VersionCounts] = defaultdict(VersionCounts)
        self.batches: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(BATCH_RECORDS))
        self.latencies: defaultdict[str, Latencies] = defaultdict(Latencies)
        # By data type and stage.
        self.stages: defaultdict[tuple[str, ...], Histogram] = defaultdict(
            lambda: Histogram(STAGE_SECONDS)
        )
        self.credit_waits: Counter[str] = Counter()
        self.credit_wait_seconds: defaultdict[str, float] = defaultdict(float)
        # By outcome.
        self.transactions = {"committed": 0, "aborted": 0}
        self.transaction_seconds = Histogram(LATENCY_SECONDS)
        self.in_flight: Mapping[str, int] = {}
        self.queued: Mapping[str, int] = {}
        # By topic and partition.
        self.lag: Mapping[tuple[str, int], int] = {}
        self.outstanding = 0


class StreamMetrics(Collector):
    """The figures as metrics."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._records()
        yield from self._histograms()
        yield from self._credit()
        yield from self._transactions()
        yield from self._gauges()

    def _records(self) -> Iterator[Metric]:
        figures = self._figures
        yield _counter("received_records", "Records that came in", figures.received)
        scored = CounterMetricFamily(
            f"{PREFIX}_scored_records", "Results written", labels=("data_type", "version")
        )
        for name, counts in figures.scored.items():
            for version, _, count in counts.items():
                scored.add_metric([name, version], count)
        yield scored
        failed = CounterMetricFamily(
            f"{PREFIX}_failed_records",
            "Dead letters written; without a version when no model was asked",
            labels=("data_type", "version", "code"),
        )
        for name, counts in figures.failed.items():
            for version, code, count in counts.items():
                failed.add_metric([name, version, code], count)
        yield failed

    def _histograms(self) -> Iterator[Metric]:
        figures = self._figures
        yield _histogram(
            "batch_records",
            "Records scored together",
            (((name,), each) for name, each in figures.batches.items()),
        )
        yield _histogram(
            "latency_seconds",
            "From a record's timestamp to the acknowledgement of its result",
            (((name,), each) for name, each in figures.latencies.items()),
        )
        yield _histogram(
            "stage_seconds",
            "What latency is made of; each record of a batch has the batch's times",
            figures.stages.items(),
            labels=("data_type", "stage"),
        )

    def _credit(self) -> Iterator[Metric]:
        waits, seconds = self._figures.credit_waits, self._figures.credit_wait_seconds
        yield _counter("credit_waits", "Times that reading or scoring waited for credit", waits)
        yield _counter("credit_wait_seconds", "Time that reading or scoring so waited", seconds)

    def _transactions(self) -> Iterator[Metric]:
        ended = self._figures.transactions
        yield _counter("transactions", "Transactions that ended", ended, label="outcome")
        yield _histogram(
            "transaction_seconds",
            "From a transaction's begin to its end",
            [((), self._figures.transaction_seconds)],
            labels=(),
        )

    def _gauges(self) -> Iterator[Metric]:
        figures = self._figures
        flying = "Batches being scored, or waiting to be written"
        yield _gauge("batches_in_flight", flying, figures.in_flight)
        yield _gauge("records_queued", "Records that wait for a batch", figures.queued)
        yield GaugeMetricFamily(
            f"{PREFIX}_results_outstanding",
            "Results and dead letters that the broker has not acknowledged yet",
            value=figures.outstanding,
        )
        lag = GaugeMetricFamily(
            f"{PREFIX}_consumer_lag_records",
            "Records of a partition that are not committed yet",
            labels=("topic", "partition"),
        )
        for (topic, partition), records in figures.lag.items():
            lag.add_metric([topic, str(partition)], records)
        yield lag


def _counter(
    name: str, text: str, values: Mapping[str, float], *, label: str = "data_type"
) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=(label,))
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _gauge(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=("data_type",))
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(
    name: str,
    text: str,
    values: Iterable[tuple[tuple[str, ...], Histogram | Latencies]],
    *,
    labels: tuple[str, ...] = ("data_type",),
) -> Metric:
    family = HistogramMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for key, each in values:
        family.add_metric(key, each.buckets(), each.sum)
    return family
