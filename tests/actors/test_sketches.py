"""Sketches travel as JSON, and merged ones are as good as one that saw all values."""

import math
from itertools import permutations

import orjson
import pytest
from ddsketch import DDSketch
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.sketches import (
    RELATIVE_ACCURACY,
    new_sketch,
    pack,
    unpack,
    wants_sketches,
)

VALUES = st.one_of(
    st.just(0.0), st.floats(1e-4, 1e5), st.floats(-1e5, -1e-4), st.sampled_from([1.0, 1e-9])
)
WEIGHTED = st.lists(st.tuples(VALUES, st.integers(1, 10**9)), max_size=20)
QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.9, 0.999, 1.0)


def sketch_of(values: list[tuple[float, int]]) -> DDSketch:
    sketch = new_sketch()
    for value, weight in values:
        sketch.add(value, weight)
    return sketch


def quantiles(sketch: DDSketch) -> list[float | None]:
    return [sketch.get_quantile_value(each) for each in QUANTILES]


@given(WEIGHTED)
def test_a_sketch_comes_over_as_it_was(values: list[tuple[float, int]]) -> None:
    sketch = sketch_of(values)
    again = unpack([orjson.loads(orjson.dumps(pack(sketch)))])
    assert quantiles(again) == quantiles(sketch)
    assert again.count == sum(weight for _, weight in values)


@given(st.lists(WEIGHTED, min_size=1, max_size=3))
def test_merged_sketches_are_the_sketch_of_all_in_any_order(
    parts: list[list[tuple[float, int]]],
) -> None:
    whole = quantiles(sketch_of([each for part in parts for each in part]))
    for order in permutations(parts):
        assert quantiles(unpack(pack(sketch_of(part)) for part in order)) == whole


@given(st.lists(st.lists(st.floats(1e-3, 1e6), min_size=1), min_size=1, max_size=3))
def test_merged_quantiles_are_within_the_accuracy_of_true_ones(parts: list[list[float]]) -> None:
    merged = unpack(pack(sketch_of([(value, 1) for value in part])) for part in parts)
    values = sorted(value for part in parts for value in part)
    for quantile in QUANTILES:
        exact = values[math.floor(quantile * (len(values) - 1))]
        found = merged.get_quantile_value(quantile)
        assert found == pytest.approx(exact, rel=RELATIVE_ACCURACY * 1.0001)


def test_empty_bins_do_not_travel() -> None:
    packed = pack(sketch_of([(1e-6, 3), (1e6, 4)]))
    assert [count for _, count in packed["positive"]] == [3, 4]
    assert (packed["negative"], packed["zeros"]) == ([], 0)


@pytest.mark.parametrize(
    ("question", "wanted"),
    [(b"", False), (b"{}", False), (b'{"sketches": true}', True), (b'{"local": true}', False)],
)
def test_who_asks_says_whether_sketches_are_wanted(question: bytes, wanted: bool) -> None:
    assert wants_sketches(question) is wanted
