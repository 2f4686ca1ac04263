"""`/metrics`, as Prometheus reads it."""

from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from repertory.actors.client import RouterClient
from repertory.actors.local_node import LocalNode
from repertory.http.node_metrics import NodeMetrics
from repertory.streams.telemetry import StreamTelemetry

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def _text(node: LocalNode) -> str:
    async with aiohttp.ClientSession(node.url) as session, session.get("/metrics") as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=")
        return await reply.text()


async def _scrape(node: LocalNode) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(await _text(node))
        for sample in family.samples
    }


def _value(samples: Samples, name: str, /, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


async def test_requests_are_counted_by_route_and_status(call: Any, shared_node: LocalNode) -> None:
    labels = {"method": "GET", "route": "/state/{dataType}", "status": "404"}
    await call("GET", "/state/beer")
    before = await _scrape(shared_node)
    await call("GET", "/state/mead")
    after = await _scrape(shared_node)
    name = "repertory_http_requests_total"
    assert _value(after, name, **labels) == _value(before, name, **labels) + 1


async def test_paths_and_methods_that_do_not_exist_are_one_series(
    call: Any, shared_node: LocalNode
) -> None:
    for number in range(3):
        await call(f"BREW{number}", f"/pot-{number}")
    routes = [dict(labels) for name, labels in await _scrape(shared_node) if "_total" in name]
    assert not [each for each in routes if "BREW" in str(each) or "pot" in str(each)]


async def test_models_and_their_records_are_told(
    call: Any, serving: Any, wine: Any, shared_node: LocalNode
) -> None:
    await call("POST", "/score/wine", json=[wine(1), {}])
    samples = await _scrape(shared_node)
    labels = {"data_type": "wine", "version": str(serving["version"])}
    about = labels | {"name": "test", "sha256": serving["sha256"], "model_type": "ONNX"}
    assert _value(samples, "repertory_model_info", node="a", **about) == 1
    assert _value(samples, "repertory_records_total", **labels) == 2
    assert _value(samples, "repertory_record_errors_total", **labels) == 1
    assert _value(samples, "repertory_record_latency_seconds", quantile="0.99", **labels) > 0
    assert _value(samples, "repertory_ready") == 1
    assert _value(samples, "repertory_serving", data_type="cider") == 0


def test_a_silent_router_is_told_as_such() -> None:
    families = {family.name: family.samples for family in NodeMetrics(None, {}, {}).collect()}
    assert [sample.value for sample in families["repertory_router_up"]] == [0]
    assert not families["repertory_model_info"]


async def test_processes_without_a_port_are_told_too(shared_node: LocalNode) -> None:
    telemetry = StreamTelemetry()
    telemetry.received("wine", 7)
    async with RouterClient(shared_node.paths.router_door, role="streams") as client:
        await client.connected.wait()
        client.tell("metrics", exposition=telemetry.exposition())
        await client.ask("health")  # the router has read what came before
        lines = (await _text(shared_node)).split("\n")
    assert 'repertory_stream_received_records_total{data_type="wine"} 7.0' in lines
    families = [line.split(" ")[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    assert {"repertory_stream_latency_seconds", "repertory_ready"} < set(families)
    series = [line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")]
    assert len(series) == len(set(series))
