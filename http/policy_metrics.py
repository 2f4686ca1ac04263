"""Policies and what they compare, as Prometheus metrics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99", "p999": "0.999"}

_POLICY = ("data_type", "policy", "policy_version")
_STATES = {"arrived": "arrived", "late": "late", "failed": "failed", "notNeeded": "not needed"}

_Row = tuple[tuple[str, ...], float]


def policy_metrics(policies: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    """Yield the metrics of the policies in force, by data type, as `/state` tells of them."""
    known = [
        ((data_type, policy["name"], str(policy["version"])), policy)
        for data_type, policy in policies.items()
    ]
    yield _counter(
        "repertory_policy_records",
        "Records answered, by the slot whose answer it was",
        (*_POLICY, "slot"),
        (
            ((*own, slot), count)
            for own, policy in known
            for slot, count in policy["choices"].items()
        ),
    )
    yield _counter(
        "repertory_policy_record_errors",
        "Records that nobody had an answer for",
        _POLICY,
        ((own, policy["errors"]) for own, policy in known),
    )
    yield _counter(
        "repertory_policy_fallbacks",
        "Records whose answer was not the one that the policy wants, but the next best",
        _POLICY,
        ((own, policy["fallbacks"]) for own, policy in known),
    )
    yield _counter(
        "repertory_policy_slot_batches",
        "What became of the batches that a slot was asked for",
        (*_POLICY, "slot", "state"),
        (
            ((*own, slot, state), counts[key])
            for own, policy in known
            for slot, counts in policy["slots"].items()
            for key, state in _STATES.items()
        ),
    )
    yield _gauge(
        "repertory_policy_latency_seconds",
        "What a record waited for the policy's answer, since it is in force",
        (*_POLICY, "quantile"),
        (
            ((*own, quantile), policy["percentiles"][key] / 1000)
            for own, policy in known
            for key, quantile in QUANTILES.items()
        ),
    )


def pair_metrics(compared: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Metric]:
    """Yield the metrics of pairs of slots, by data type, as `/compare` tells of them."""
    labels = ("data_type", "slot", "other")
    known = [
        ((data_type, *pair["slots"]), pair)
        for data_type, pairs in compared.items()
        for pair in pairs
    ]
    yield _counter(
        "repertory_compared_records",
        "Records that two slots both scored",
        labels,
        ((own, pair["records"]) for own, pair in known),
    )
    yield _counter(
        "repertory_disagreements",
        "Records that two slots scored differently",
        labels,
        ((own, pair["records"] - pair["agreements"]) for own, pair in known),
    )
    yield _gauge(
        "repertory_disagreement_rate",
        "The share of records that two slots scored differently in the last five minutes",
        labels,
        (
            (own, pair["disagreement"]["last5m"])
            for own, pair in known
            if pair["disagreement"]["last5m"] is not None
        ),
    )


def _counter(name: str, text: str, labels: Sequence[str], rows: Iterable[_Row]) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), rows)


def _gauge(name: str, text: str, labels: Sequence[str], rows: Iterable[_Row]) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), rows)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, rows: Iterable[_Row]) -> Metric:
    for labels, value in rows:
        family.add_metric(labels, value)
    return family
