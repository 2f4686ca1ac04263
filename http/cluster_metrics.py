"""The cluster as one node sees it, and that node's part in it, as Prometheus metrics."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# Every state is told, also one that nobody is in: an alert cannot be made of what is not there.
STATES = ("up", "suspect", "leaving", "down", "unknown")


class ClusterMetrics(Collector):
    """The metrics of one scrape, of what the router says of the cluster (None: it is silent)."""

    def __init__(self, cluster: Mapping[str, Any] | None) -> None:
        self._cluster = cluster

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        if self._cluster is not None:
            yield from _members(self._cluster["members"])
            yield from _shards(self._cluster["node"], self._cluster["shards"])


def _members(members: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    counts = Counter(member["state"] for member in members)
    total = GaugeMetricFamily(
        "repertory_cluster_members", "Nodes of the cluster by their state", labels=("state",)
    )
    each = GaugeMetricFamily(
        "repertory_member_state", "Whether a node is in a state", labels=("node", "state")
    )
    for state in STATES:
        total.add_metric([state], counts[state])
        for member in members:
            each.add_metric([member["node"], state], float(member["state"] == state))
    yield total
    yield each


def _shards(own: str, shards: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    ready = GaugeMetricFamily(
        "repertory_shard_ready",
        "Whether a data type that this node owns can be served by it",
        labels=("data_type",),
    )
    position = GaugeMetricFamily(
        "repertory_shard_position",
        "Journal position of the model that this node serves",
        labels=("data_type",),
    )
    for name, shard in shards.items():
        if own in shard["owners"] or own in shard["ready"]:
            ready.add_metric([name], float(own in shard["ready"]))
        if own in shard["ready"]:
            position.add_metric([name], shard["ready"][own])
    yield ready
    yield position


def traffic_metrics(status: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield what a router counted of batches that other nodes had to score."""
    forwarded = CounterMetricFamily(
        "repertory_forwarded_batches", "Batches sent to another node", labels=("node",)
    )
    for node, count in status.get("forwarded", {}).items():
        forwarded.add_metric([node], count)
    yield forwarded
    if "retried" in status:
        text = "Batches sent again, because who had them was lost or behind"
        yield CounterMetricFamily("repertory_retried_batches", text, value=status["retried"])
    if "held" in status:
        text = "Batches that wait because no node serves their data type just now"
        yield GaugeMetricFamily("repertory_held_batches", text, value=status["held"])
