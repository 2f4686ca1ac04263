"""What a node serves, as Prometheus metrics: made afresh from the actors' answers at each scrape."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from repertory.http.cluster_metrics import traffic_metrics
from repertory.http.policy_metrics import QUANTILES, pair_metrics, policy_metrics

_INFO = ("data_type", "name", "version", "sha256", "model_type", "node")


class NodeMetrics(Collector):
    """The metrics of one scrape: `status` of the router (None: it is silent), states by data type.

    `compared` are the pairs of each data type that has a policy.
    """

    def __init__(
        self,
        status: Mapping[str, Any] | None,
        states: Mapping[str, Mapping[str, Any]],
        compared: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> None:
        self._status = status
        self._models = [
            (data_type, model)
            for data_type, state in states.items()
            for model in state.get("slots", {"": state}).values()
            if "error" not in model
        ]
        self._policies = {name: each["policy"] for name, each in states.items() if "policy" in each}
        self._compared = compared

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        up = self._status is not None
        yield GaugeMetricFamily("repertory_router_up", "Whether the router answers", value=up)
        if self._status is not None:
            ready = bool(self._status["ready"])
            yield GaugeMetricFamily(
                "repertory_ready", "Whether the node is ready for records", ready
            )
            yield from _queues(_here(self._status["data_types"]))
            yield from traffic_metrics(self._status)
        yield self._info()
        yield from self._counters()
        yield self._latency()
        yield from policy_metrics(self._policies)
        yield from pair_metrics(self._compared)

    def _info(self) -> Metric:
        family = GaugeMetricFamily(
            "repertory_model_info", "A model that serves a data type", labels=_INFO
        )
        for data_type, state in self._models:
            values = (state["name"], state["version"], state["sha256"], state["modelType"])
            family.add_metric([data_type, *map(str, values), state["node"]], 1)
        return family

    def _counters(self) -> Iterator[Metric]:
        described = {
            "usage": ("repertory_records", "Records scored, failed ones included", 1.0),
            "errors": ("repertory_record_errors", "Records that failed", 1.0),
            "batches": ("repertory_batches", "Batches scored", 1.0),
            "duration": ("repertory_scoring_seconds", "Time spent on scoring", 0.001),
        }
        for key, (name, text, unit) in described.items():
            family = CounterMetricFamily(name, text, labels=("data_type", "version"))
            for data_type, state in self._models:
                family.add_metric([data_type, str(state["version"])], state[key] * unit)
            yield family

    def _latency(self) -> Metric:
        family = GaugeMetricFamily(
            "repertory_record_latency_seconds",
            "What a record waited for its score once it was taken in hand",
            labels=("data_type", "version", "quantile"),
        )
        for data_type, state in self._models:
            for key, quantile in QUANTILES.items():
                labels = [data_type, str(state["version"]), quantile]
                family.add_metric(labels, state["percentiles"][key] / 1000)
        return family


def _here(data_types: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Return those that this node owns, or still serves: others serve the rest."""
    return {
        name: each
        for name, each in data_types.items()
        if each.get("owned", True) or each["serving"]
    }


def _queues(data_types: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    described = {
        "serving": ("repertory_serving", "Whether a model serves a data type"),
        "waiting": ("repertory_batches_waiting", "Batches that wait for a serving actor"),
        "in_flight": ("repertory_batches_in_flight", "Batches that a serving actor has"),
    }
    for key, (name, text) in described.items():
        family = GaugeMetricFamily(name, text, labels=("data_type",))
        for data_type, each in data_types.items():
            family.add_metric([data_type], float(each[key]))
        yield family
    swaps = CounterMetricFamily(
        "repertory_swaps", "Model swaps of the serving actors", labels=("data_type",)
    )
    for data_type, each in data_types.items():
        actors = each.get("slots", {"": each}).values()
        swaps.add_metric([data_type], sum(actor.get("swaps", 0) for actor in actors))
    yield swaps
