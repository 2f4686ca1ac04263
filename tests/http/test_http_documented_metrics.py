"""The page about metrics, and the dashboard, are of the metrics that a node shows."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.http.scripted import cluster_answer, comparison_answer, policy_answer

from repertory.actors.batch import ModelRef
from repertory.actors.client import RouterClient
from repertory.actors.local_node import LocalNode
from repertory.errors import FailureCode
from repertory.http.cluster_metrics import ClusterMetrics
from repertory.http.exposition import merged
from repertory.http.node_metrics import NodeMetrics
from repertory.streams.telemetry import StreamTelemetry

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
NAME = re.compile(r"\b(?:repertory|process)_\w+")
SELECTOR = re.compile(r"((?:repertory|process)_\w+)\{([^}]*)\}")
LABEL = re.compile(r"(\w+)(?:=~?|!=)")
# What Prometheus adds to what it scrapes.
SCRAPED = {"instance", "job"}


class Shown(NamedTuple):
    """What a node shows of a metric."""

    kind: str
    labels: set[str]
    series: set[str]


def full_telemetry() -> StreamTelemetry:
    """Return telemetry that has counted something of everything."""
    telemetry, model = StreamTelemetry(), ModelRef("m", 1, "ab")
    telemetry.received("wine", 2)
    telemetry.scored("wine", model, 1)
    telemetry.failed("wine", model, FailureCode.MISSING_FEATURE)
    telemetry.batch("wine", 2, queue=0.001, decode=0.001, score=0.001)
    telemetry.acknowledged("wine", produce=0.001, latencies_ms=[3, 4])
    telemetry.credit_waited("wine", 0.1)
    telemetry.transaction(committed=True, seconds=0.1)
    one = {"wine": 1}
    telemetry.gauges(in_flight=one, queued=one, lag={("mdata", 0): 1}, outstanding=1)
    return telemetry


def with_a_policy_and_other_nodes() -> str:
    """Return what there is besides when a policy is in force, and when there are several nodes."""
    registry = CollectorRegistry(auto_describe=False)
    states = {"wine": {**policy_answer(), "slots": {}}}
    status = {"ready": True, "data_types": {}, "forwarded": {"b": 1}, "retried": 1, "held": 1}
    registry.register(NodeMetrics(status, states, {"wine": comparison_answer()["pairs"]}))
    registry.register(ClusterMetrics(cluster_answer()))
    return generate_latest(registry).decode()


@pytest.fixture
async def shown(call: Any, serving: Any, wine: Any, shared_node: LocalNode) -> dict[str, Shown]:
    """Return every metric of a node that has done everything once, by name."""
    assert serving["version"]
    await call("POST", "/score/wine", json=[wine(1), {}])
    async with RouterClient(shared_node.paths.router_door, role="streams") as client:
        await client.connected.wait()
        client.tell("metrics", exposition=full_telemetry().exposition())
        await client.ask("health")  # the router has read what came before
        async with aiohttp.ClientSession(shared_node.url) as session:
            text = await (await session.get("/metrics")).text()
    text = merged([text, with_a_policy_and_other_nodes()])
    found = {}
    for family in text_string_to_metric_families(text):
        labels = {label for sample in family.samples for label in sample.labels}
        if family.type == "histogram":
            labels.discard("le")
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = Shown(family.type, labels, {sample.name for sample in family.samples})
    return found


def test_every_metric_is_documented(shown: dict[str, Shown]) -> None:
    rows = ROW.findall((DOCS / "metrics.md").read_text())
    documented = {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels in rows}
    assert len(documented) == len(rows)
    assert documented == {name: (each.kind, each.labels) for name, each in shown.items()}


def dashboard() -> Any:
    return json.loads((DOCS / "grafana-dashboard.json").read_text())


def expressions() -> Iterator[str]:
    """Yield what the dashboard asks Prometheus."""
    board = dashboard()
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (each["expr"] for each in board["annotations"]["list"] if "expr" in each)
    yield from (each["definition"] for each in board["templating"]["list"] if "definition" in each)


def test_the_dashboard_asks_for_metrics_and_labels_that_exist(shown: dict[str, Shown]) -> None:
    labels = {series: each.labels for each in shown.values() for series in each.series}
    asked = list(expressions())
    assert len(asked) > 40
    for expression in asked:
        assert [name for name in NAME.findall(expression) if name not in labels] == []
        for name, selector in SELECTOR.findall(expression):
            assert set(LABEL.findall(selector)) <= labels[name] | SCRAPED, expression


def test_the_dashboard_groups_by_labels_that_exist(shown: dict[str, Shown]) -> None:
    labels = {series: each.labels for each in shown.values() for series in each.series}
    for expression in expressions():
        there = set[str]().union(*(labels[name] for name in NAME.findall(expression)))
        grouped = re.findall(r"by \(([^)]*)\)", expression)
        by = {each.strip() for group in grouped for each in group.split(",")}
        assert by <= there | SCRAPED | {"le"}, expression


def test_the_dashboard_shows_every_metric(shown: dict[str, Shown]) -> None:
    asked = set(NAME.findall(" ".join(expressions())))
    missing = {name for name, each in shown.items() if not each.series & asked}
    shown_elsewhere = {name for name in missing if re.search("process_(?!cpu|res)", name)}
    assert missing - shown_elsewhere == set()


def test_legends_name_labels_that_their_expression_keeps() -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            used = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            groups = re.findall(r"by \(([^)]*)\)", target["expr"])
            kept = {each.strip() for group in groups for each in group.split(",")}
            assert used <= (kept or SCRAPED), target["expr"]


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x, y in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
