"""Differences are counted as DDSketch counts them, many at a time."""

import numpy as np
import pytest
from ddsketch import DDSketch
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.policies.differences import Differences
from repertory.actors.sketches import RELATIVE_ACCURACY

SIZES = st.one_of(st.just(0.0), st.floats(1e-11, 1e11))


def counted(*parts: list[float]) -> Differences:
    differences = Differences()
    for part in parts:
        differences.add(np.array(part, np.float64))
    return differences


@given(st.lists(SIZES, min_size=1, max_size=200), st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_within_one_percent_of_the_true_ones(
    values: list[float], quantile: float
) -> None:
    exact = sorted(values)[int(quantile * (len(values) - 1))]
    assert counted(values).quantile(quantile) == pytest.approx(exact, rel=RELATIVE_ACCURACY * 1.01)


@given(st.lists(SIZES, min_size=1, max_size=50))
def test_quantiles_are_those_of_the_library(values: list[float]) -> None:
    sketch = DDSketch(RELATIVE_ACCURACY)
    for value in values:
        sketch.add(value)
    mine = counted(values).as_json()
    for name, quantile in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        # They may choose neighbouring bins for what lies on the edge of one.
        assert mine[name] == pytest.approx(sketch.get_quantile_value(quantile), rel=0.021)


@given(st.lists(SIZES, min_size=1), st.lists(SIZES, min_size=1))
def test_merging_two_halves_gives_the_whole(one: list[float], other: list[float]) -> None:
    half = counted(one)
    half.merge(counted(other))
    assert half.as_json() == pytest.approx(counted(one, other).as_json())


def test_what_is_out_of_range_is_kept_at_its_ends() -> None:
    state = counted([1e-300] * 6 + [1e300] * 4).as_json()
    assert state["p50"] == 0
    assert state["p99"] == pytest.approx(1e12, rel=0.03)
    assert state["max"] == 1e300


def test_nothing_to_count_is_no_harm() -> None:
    differences = counted([])
    assert (differences.count, differences.quantile(0.5)) == (0, 0)
