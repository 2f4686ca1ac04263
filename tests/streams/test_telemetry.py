"""What the Kafka face counts and measures, and how Prometheus reads it."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from repertory.actors.batch import ModelRef
from repertory.errors import FailureCode
from repertory.streams.histogram import LATENCY_SECONDS, Histogram
from repertory.streams.stream_metrics import BATCH_RECORDS, VERSIONS
from repertory.streams.telemetry import WINDOW_SECONDS, StreamTelemetry

MODEL = ModelRef("m", 7, "ab")


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def telemetry() -> StreamTelemetry:
    return StreamTelemetry()


def values(telemetry: StreamTelemetry, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a name, by the values of their labels in the order of their names."""
    return {
        tuple(each for _, each in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(telemetry.exposition())
        for sample in family.samples
        if sample.name == f"repertory_stream_{name}"
    }


def buckets(telemetry: StreamTelemetry, name: str, *labels: str) -> Iterator[tuple[float, float]]:
    for (data_type, bound, *rest), count in values(telemetry, f"{name}_bucket").items():
        if (data_type, *rest) == labels:
            yield float(bound), count


def test_there_is_no_latency_before_the_first_record(telemetry: StreamTelemetry) -> None:
    assert telemetry.as_json()["latency_ms"] == {"p50": None, "p99": None}


def test_quantiles_are_within_a_hundredth(telemetry: StreamTelemetry) -> None:
    telemetry.acknowledged("wine", produce=0.01, latencies_ms=range(1, 1001))
    assert telemetry.as_json()["latency_ms"] == pytest.approx({"p50": 500, "p99": 990}, rel=0.01)


@pytest.mark.parametrize("turns", [(1, 2), (2,), (9,)])
def test_an_old_backlog_is_forgotten(turns: tuple[int, ...]) -> None:
    clock = Clock()
    telemetry = StreamTelemetry(clock)
    telemetry.acknowledged("wine", produce=0, latencies_ms=[60_000])
    for turn in turns:
        clock.now = turn * WINDOW_SECONDS / 2
        telemetry.acknowledged("wine", produce=0, latencies_ms=[5])
    assert telemetry.as_json()["latency_ms"] == {"p50": 5, "p99": 5}


def test_what_is_half_a_window_old_is_remembered() -> None:
    clock = Clock()
    telemetry = StreamTelemetry(clock)
    telemetry.acknowledged("wine", produce=0, latencies_ms=[60_000])
    clock.now = WINDOW_SECONDS / 2
    assert telemetry.as_json()["latency_ms"]["p99"] == 60_000


@given(st.lists(st.integers(-1000, 100_000_000) | st.integers(0, 61_000), min_size=1))
def test_latencies_are_in_the_buckets_where_each_alone_would_be(latencies: list[int]) -> None:
    telemetry = StreamTelemetry()
    telemetry.acknowledged("wine", produce=0, latencies_ms=latencies)
    found = dict(buckets(telemetry, "latency_seconds", "wine"))
    bounds = [*LATENCY_SECONDS, float("inf")]
    assert found == {bound: sum(ms <= bound * 1000 for ms in latencies) for bound in bounds}
    seconds = sum(max(0, ms) for ms in latencies) / 1000
    assert values(telemetry, "latency_seconds_sum") == {("wine",): pytest.approx(seconds)}


@given(st.lists(st.tuples(st.floats(0, 1e5) | st.sampled_from(BATCH_RECORDS), st.integers(1, 9))))
def test_values_are_in_the_buckets_where_each_alone_would_be(
    seen: list[tuple[float, int]],
) -> None:
    histogram = Histogram(BATCH_RECORDS)
    for value, times in seen:
        histogram.observe(value, times)
    for bound, count in histogram.buckets():
        assert count == sum(times for value, times in seen if value <= float(bound))


def test_stages_are_weighted_by_records(telemetry: StreamTelemetry) -> None:
    telemetry.batch("wine", 100, queue=0.02, decode=0.001, score=0.0002)
    telemetry.acknowledged("wine", produce=0.004, latencies_ms=[25] * 100)
    counts = values(telemetry, "stage_seconds_count")
    assert counts == {("wine", stage): 100 for stage in ("queue", "decode", "score", "produce")}
    assert sum(values(telemetry, "stage_seconds_sum").values()) == pytest.approx(2.52)
    assert values(telemetry, "batch_records_sum") == {("wine",): 100}


def test_records_are_told_by_data_type_version_and_code(telemetry: StreamTelemetry) -> None:
    telemetry.received("wine", 10)
    telemetry.scored("wine", MODEL, 7)
    telemetry.failed("wine", MODEL, FailureCode.MISSING_FEATURE, 2)
    telemetry.failed("wine", None, FailureCode.INVALID_RECORD)
    assert values(telemetry, "received_records_total") == {("wine",): 10}
    assert values(telemetry, "scored_records_total") == {("wine", "7"): 7}
    assert values(telemetry, "failed_records_total") == {
        ("missing_feature", "wine", "7"): 2,
        ("invalid_record", "wine", ""): 1,
    }


def test_only_the_versions_that_scored_last_are_told(telemetry: StreamTelemetry) -> None:
    for version in range(1, 101):
        telemetry.scored("wine", ModelRef("m", version, ""), 1)
        telemetry.scored("wine", MODEL, 1)
    versions = {int(version) for _, version in values(telemetry, "scored_records_total")}
    assert versions == {7, *range(102 - VERSIONS, 101)}
    assert telemetry.as_json()["scored"] == 200


def test_names_that_senders_make_up_are_one_series(telemetry: StreamTelemetry) -> None:
    for number in range(100):
        telemetry.failed(f"made-up-{number}", None, FailureCode.UNKNOWN_DATA_TYPE)
    series = values(telemetry, "failed_records_total")
    assert series == {("unknown_data_type", "unknown", ""): 100}


def test_transactions_and_waits_are_told(telemetry: StreamTelemetry) -> None:
    telemetry.transaction(committed=True, seconds=0.02)
    telemetry.transaction(committed=False, seconds=3)
    telemetry.credit_waited("mixed", 0.5)
    telemetry.credit_waited("mixed", 0.25)
    ended = values(telemetry, "transactions_total")
    assert ended == {("committed",): 1, ("aborted",): 1}
    assert values(telemetry, "transaction_seconds_sum") == {(): 3.02}
    assert values(telemetry, "credit_waits_total") == {("mixed",): 2}
    assert values(telemetry, "credit_wait_seconds_total") == {("mixed",): 0.75}


def test_gauges_are_what_was_set_last(telemetry: StreamTelemetry) -> None:
    for n in (1, 2):
        telemetry.gauges(
            in_flight={"wine": n}, queued={"wine": 10 * n}, lag={("w", 3): n}, outstanding=n
        )
    assert values(telemetry, "batches_in_flight") == {("wine",): 2}
    assert values(telemetry, "records_queued") == {("wine",): 20}
    assert values(telemetry, "consumer_lag_records") == {("3", "w"): 2}
    assert values(telemetry, "results_outstanding") == {(): 2}


def test_the_sums_are_plain_texts_and_numbers(telemetry: StreamTelemetry) -> None:
    telemetry.received("wine", 3)
    telemetry.scored("wine", MODEL, 2)
    telemetry.failed("wine", MODEL, FailureCode.INVALID_RECORD)
    telemetry.batch("wine", 3, queue=0, decode=0, score=0)
    found = telemetry.as_json()
    assert [type(code) for code in found["failed"]] == [str]
    assert found == {
        "records": 3,
        "scored": 2,
        "failed": {"invalid_record": 1},
        "dead_letters": 1,
        "batches": 1,
        "transactions": {"committed": 0, "aborted": 0},
        "latency_ms": {"p50": None, "p99": None},
    }
