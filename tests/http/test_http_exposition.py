"""Metrics of several processes as one text that Prometheus can read."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from repertory.http.exposition import merged

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Wines(Collector):
    """Metrics of wines of some kinds."""

    def __init__(self, kinds: tuple[str, ...], amount: float) -> None:
        self._kinds = kinds
        self._amount = amount

    def collect(self) -> Iterator[Metric]:
        """Yield a counter and a histogram."""
        counter = CounterMetricFamily("records", 'How "many"\nrecords', labels=("kind",))
        for kind in self._kinds:
            counter.add_metric([kind], self._amount)
        yield counter
        yield HistogramMetricFamily("seconds", "How long", [("1", 2), ("+Inf", 3)], self._amount)


def text(*kinds: str, amount: float = 1) -> str:
    return generate_latest(Wines(kinds, amount)).decode()


def samples(exposition: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def test_a_single_text_is_left_as_it_is() -> None:
    assert merged([text("red", "white")]) == text("red", "white")


def test_nothing_is_nothing() -> None:
    assert samples(merged([])) == samples(merged(["", "\n"])) == {}


def test_each_family_is_told_once() -> None:
    lines = merged([text("red"), "# TYPE other gauge\nother 1\n", text("white")]).split("\n")
    heads = [line for line in lines if line.startswith("#")]
    assert len(heads) == len(set(heads)) == 5
    assert [line.split(" ")[0] for line in lines if line.startswith("records")] == [
        'records_total{kind="red"}',
        'records_total{kind="white"}',
    ]


@given(
    st.lists(st.tuples(st.text(max_size=4), st.floats(0, 1e9)), min_size=1, max_size=4),
)
def test_what_several_texts_have_is_their_sum(seen: list[tuple[str, float]]) -> None:
    expected: Samples = {}
    for label, amount in seen:
        for key, value in samples(text(label, amount=amount)).items():
            expected[key] = expected.get(key, 0) + value
    assert samples(merged(text(label, amount=amount) for label, amount in seen)) == expected
