"""What the Kafka face counts and measures."""

import pytest

from repertory.errors import FailureCode
from repertory.streams.statistics import WINDOW_SECONDS, StreamStatistics


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_there_is_no_latency_before_the_first_record() -> None:
    assert StreamStatistics().as_json()["latency_ms"] == {"p50": None, "p99": None}


def test_quantiles_are_within_a_hundredth() -> None:
    statistics = StreamStatistics()
    statistics.acknowledged(range(1, 1001))
    assert statistics.as_json()["latency_ms"] == pytest.approx({"p50": 500, "p99": 990}, rel=0.02)


def test_an_old_backlog_is_forgotten() -> None:
    clock = Clock()
    statistics = StreamStatistics(clock)
    statistics.acknowledged([60_000])
    for turn in (1, 2):
        clock.now = turn * WINDOW_SECONDS
        statistics.acknowledged([5])
    assert statistics.as_json()["latency_ms"]["p99"] == pytest.approx(5, rel=0.02)


def test_failures_are_counted_by_code_as_plain_texts() -> None:
    statistics = StreamStatistics()
    statistics.count_failure(FailureCode.INVALID_RECORD)
    [(code, count)] = statistics.as_json()["failed"].items()
    assert type(code) is str
    assert (code, count) == ("invalid_record", 1)
