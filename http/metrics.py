"""`/metrics`, for Prometheus: of this face, of what the node serves, and of its other processes."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from repertory.actors.client import RouterClient
from repertory.errors import RequestFailed
from repertory.http.asking import ask
from repertory.http.cluster_metrics import ClusterMetrics
from repertory.http.exposition import merged
from repertory.http.node_metrics import NodeMetrics
from repertory.http.shared_figures import SharedFigures
from repertory.http.states import state_of

# Scrapers give up after ten seconds; a late answer must not cost the other figures.
NODE_SECONDS = 2.0
# From a single record to a model that is checked before the reply.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90)
# As nginx writes it: the client went away before there was a reply.
CLIENT_GONE = "499"
# Clients choose methods and paths freely; each would be a time series for ever.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})

# When each series began: as many lines again, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Counts requests, and tells of them and of the node."""

    def __init__(self, router: RouterClient, shared: SharedFigures | None = None) -> None:
        self._router = router
        self._shared = shared
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "repertory_http_requests",
            "Requests answered, by route and status",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "repertory_http_request_seconds",
            "From a request's head to the end of its handling",
            ("method", "route"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._in_progress = Gauge(
            "repertory_http_requests_in_progress",
            "Requests that are being handled",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._in_progress.set(0)  # whatever the process before this one was at when it died

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count a request, whatever becomes of it."""
        start, status = time.perf_counter(), CLIENT_GONE
        self._in_progress.inc()
        try:
            response = await handler(request)
            status = str(response.status)
            return response
        finally:
            self._in_progress.dec()
            method = request.method if request.method in _METHODS else "other"
            route = _route(request)
            self._requests.labels(method, route, status).inc()
            self._seconds.labels(method, route).observe(time.perf_counter() - start)

    async def expose(self, _: web.Request) -> web.Response:
        """Answer in Prometheus' text format; without the node's part while no router answers."""
        node = CollectorRegistry(auto_describe=False)
        metrics, cluster, others = await asyncio.gather(
            self._node(), self._cluster(), self._others()
        )
        node.register(metrics)
        node.register(cluster)
        face = self._registry if self._shared is None else self._shared.registry()
        own = [generate_latest(registry).decode() for registry in (face, node)]
        body = merged([*own, *others]).encode()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _others(self) -> list[str]:
        """Return what processes without a port of their own told the router of themselves."""
        try:
            answer = await ask(self._router, "metrics", timeout=NODE_SECONDS)
        except RequestFailed:
            return []
        return list(answer["texts"].values())

    async def _node(self) -> NodeMetrics:
        try:
            status = await ask(self._router, "status", timeout=NODE_SECONDS)
        except RequestFailed:
            return NodeMetrics(None, {}, {})
        serving = [name for name, each in status["data_types"].items() if each["serving"]]
        found = dict(zip(serving, await asyncio.gather(*map(self._state, serving)), strict=True))
        states = {name: each for name, each in found.items() if each}
        decided = [name for name, each in states.items() if "policy" in each]
        compared = dict(zip(decided, await asyncio.gather(*map(self._pairs, decided)), strict=True))
        return NodeMetrics(status, states, compared)

    async def _cluster(self) -> ClusterMetrics:
        try:
            return ClusterMetrics(await ask(self._router, "cluster", timeout=NODE_SECONDS))
        except RequestFailed:
            return ClusterMetrics(None)

    async def _state(self, data_type: str) -> Mapping[str, Any] | None:
        try:
            return await state_of(self._router, data_type, timeout=NODE_SECONDS, local=True)
        except RequestFailed:
            return None

    async def _pairs(self, data_type: str) -> Sequence[Mapping[str, Any]]:
        try:
            answer = await ask(
                self._router, "comparison", timeout=NODE_SECONDS, data_type=data_type, local=True
            )
        except RequestFailed:
            return ()
        return list(answer["pairs"])


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"
