"""Statistics count records, and keep times with their fractions."""

import pytest

from repertory.actors.sketches import RELATIVE_ACCURACY
from repertory.actors.statistics import Statistics


def test_before_the_first_record_everything_is_zero() -> None:
    state = Statistics().as_json()
    assert {state.pop(name) for name in ("usage", "duration", "min", "max", "errors")} == {0}
    assert state["percentiles"] == {"p50": 0, "p90": 0, "p99": 0, "p999": 0}


def test_records_times_and_errors_add_up() -> None:
    statistics = Statistics()
    statistics.count(10, 1, 0.5)
    statistics.count(5, 2, 0.25)
    state = statistics.as_json()
    assert (state["usage"], state["errors"], state["batches"]) == (15, 3, 2)
    assert (state["duration"], state["min"], state["max"]) == (0.75, 0.25, 0.5)


def test_the_first_time_is_the_least_even_if_it_is_long() -> None:
    statistics = Statistics()
    statistics.count(1, 0, 9.5)
    assert statistics.as_json()["min"] == 9.5


def test_an_empty_batch_counts_for_nothing() -> None:
    statistics = Statistics()
    statistics.count(0, 0, 7.0)
    assert statistics.as_json() == Statistics().as_json()


def test_percentiles_are_of_records_not_of_batches() -> None:
    statistics = Statistics()
    statistics.count(98, 0, 1.0)
    statistics.count(2, 0, 50.0)
    percentiles = statistics.as_json()["percentiles"]
    assert percentiles["p50"] == pytest.approx(1, rel=RELATIVE_ACCURACY)
    assert percentiles["p90"] == pytest.approx(1, rel=RELATIVE_ACCURACY)
    assert percentiles["p999"] == pytest.approx(50, rel=RELATIVE_ACCURACY)


def test_percentiles_are_within_one_percent() -> None:
    statistics = Statistics()
    for hundredth in range(1, 10_001):
        statistics.count(1, 0, hundredth / 100)
    percentiles = statistics.as_json()["percentiles"]
    for name, exact in (("p50", 50), ("p90", 90), ("p99", 99), ("p999", 99.9)):
        assert percentiles[name] == pytest.approx(exact, rel=0.0101)
