"""The table of endpoints."""

import re
from itertools import starmap
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from repertory.actors.client import RouterClient
from repertory.config import MEBIBYTE, ClusterConfig, NodePaths
from repertory.http.access import ACCESS, Access
from repertory.http.cluster import Clusters
from repertory.http.compare import Comparisons
from repertory.http.dispatch import Dispatcher
from repertory.http.errors_middleware import errors_as_json
from repertory.http.in_hand import InHand
from repertory.http.inference import Inference
from repertory.http.live import Live
from repertory.http.metrics import Metrics
from repertory.http.oip import OpenInference
from repertory.http.openapi import cluster, policies, queries
from repertory.http.openapi import publishing as published
from repertory.http.openapi.describing import Describing
from repertory.http.openapi.operation import UNTOLD, Operation
from repertory.http.openapi.scoring import SCORE as SCORE_RECORDS
from repertory.http.page import Page
from repertory.http.policies import Policies
from repertory.http.publishing import Publishing
from repertory.http.queries import Health, Queries
from repertory.http.replies import json_reply
from repertory.http.scoring import Scoring
from repertory.http.shared_figures import SharedFigures
from repertory.http.tfs import TensorFlowServing
from repertory.http.visitor import ADMIN, OPEN, PUBLISH, READ, SCORE, Needed

# What tells nothing of any data type, and what is published for the one that its body names.
_OF_NO_OR_ONE = frozenset({"GET /v2", "POST /models", "GET /openapi.json", "GET /docs"})


class Endpoint(NamedTuple):
    """A method and a path, what answers there, the role that it needs, and what else is told of it."""

    method: str
    path: str
    handler: Handler
    role: Needed = ADMIN
    operation: Operation = UNTOLD

    @property
    def of_all(self) -> bool:
        """Whether the role is needed for all data types: the path names none."""
        names_one = re.search(r"\{(dataType|model)\b", self.path) is not None
        return not names_one and f"{self.method} {self.path}" not in _OF_NO_OR_ONE

    @property
    def plain_path(self) -> str:
        """The path, without what its parts have to match."""
        return re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", self.path)


class Core(NamedTuple):
    """What answers over gRPC as well."""

    inference: Inference
    publishing: Publishing
    health: Health
    access: Access


CORE = web.AppKey("core", Core)


def make_app(
    config: ClusterConfig,
    paths: NodePaths,
    router: RouterClient,
    in_hand: InHand,
    *,
    shared: SharedFigures | None = None,
) -> web.Application:
    """Return the application that serves all endpoints. Raises ConfigError.

    `shared` are the figures of all processes that do so on this node, if there are several.
    """
    access = Access(config, paths)
    health, metrics = Health(router, in_hand), Metrics(router, shared)
    publishing, dispatcher = Publishing(config, paths, router), Dispatcher(config, router)
    inference = Inference(config, router, dispatcher)
    open_inference = OpenInference(config, router, inference, publishing, health)
    describing = Describing(config, access, inference.signatures)
    endpoints = [
        *_queries(Queries(router)),
        *_cluster(Clusters(router)),
        *_models(publishing),
        *_policies(Policies(router)),
        Endpoint("GET", "/compare/{dataType}", Comparisons(router).compare, READ, queries.COMPARE),
        Endpoint(
            "POST",
            "/score/{dataType}",
            Scoring(config, router, dispatcher).score,
            SCORE,
            SCORE_RECORDS,
        ),
        *starmap(Endpoint, open_inference.endpoints()),
        *starmap(Endpoint, TensorFlowServing(config, router, inference).endpoints()),
        *_observed(Live(config, router, in_hand), health, metrics),
        *_described(describing),
    ]
    describing.endpoints = endpoints
    page = Page()
    app = web.Application(
        middlewares=[in_hand.hold, metrics.count, page.welcome, errors_as_json, access.guard],
        client_max_size=config.http.max_body_mb * MEBIBYTE,
    )
    app[ACCESS] = access
    app[CORE] = Core(inference, publishing, health, access)
    pages = {
        "/": page.or_else(_index(endpoints)),
        "/page/{file:.+}": page.file,
        "/docs/{file:.+}": describing.page.file,
    }
    for path, handler in pages.items():
        resource = app.router.add_resource(path)
        for method in ("GET", "HEAD"):
            access.protect(resource.add_route(method, handler), READ, of_all=False)
    for endpoint in endpoints:
        route = app.router.add_route(endpoint.method, endpoint.path, endpoint.handler)
        access.protect(route, endpoint.role, of_all=endpoint.of_all)
    return app


def _queries(asked: Queries) -> list[Endpoint]:
    return [
        Endpoint("GET", "/models", asked.models, READ, queries.MODELS),
        Endpoint("GET", "/processors", asked.processors, READ, queries.PROCESSORS),
        Endpoint("GET", "/state/{dataType}", asked.state, READ, queries.STATE),
        Endpoint("GET", "/models/{dataType}/versions", asked.versions, READ, queries.VERSIONS),
        Endpoint("GET", "/status", asked.status, READ, queries.STATUS),
    ]


def _observed(live: Live, health: Health, metrics: Metrics) -> list[Endpoint]:
    return [
        Endpoint("GET", "/events", live.events, READ, queries.EVENTS),
        Endpoint("GET", "/health/live", health.live, OPEN, queries.LIVE),
        Endpoint("GET", "/health/ready", health.ready, OPEN, queries.READY),
        Endpoint("GET", "/metrics", metrics.expose, READ, queries.METRICS),
        Endpoint("GET", "/monitoring/prometheus/metrics", metrics.expose, READ, queries.METRICS),
    ]


def _described(describing: Describing) -> list[Endpoint]:
    return [
        Endpoint("GET", "/openapi.json", describing.document, READ, queries.DOCUMENT),
        Endpoint("GET", "/docs", describing.page.index, READ, queries.DOCUMENTATION),
    ]


def _cluster(clusters: Clusters) -> list[Endpoint]:
    return [
        Endpoint("GET", "/cluster", clusters.cluster, READ, cluster.CLUSTER),
        Endpoint("GET", "/cluster/members/{node}", clusters.member, READ, cluster.MEMBER),
    ]


def _models(publishing: Publishing) -> list[Endpoint]:
    told = published
    return [
        Endpoint("POST", "/models", publishing.publish, PUBLISH, told.PUBLISH),
        Endpoint("DELETE", "/models/{dataType}", publishing.retire, PUBLISH, told.RETIRE),
        Endpoint(
            "POST", "/models/{dataType}/rollback", publishing.roll_back, PUBLISH, told.ROLL_BACK
        ),
    ]


def _policies(asked: Policies) -> list[Endpoint]:
    path = "/policies/{dataType}"
    return [
        Endpoint("PUT", path, asked.put, PUBLISH, policies.PUT),
        Endpoint("GET", path, asked.get, READ, policies.GET),
        Endpoint("DELETE", path, asked.remove, PUBLISH, policies.REMOVE),
        Endpoint("GET", f"{path}/versions", asked.versions, READ, policies.VERSIONS),
        Endpoint("POST", f"{path}/rollback", asked.roll_back, PUBLISH, policies.ROLL_BACK),
    ]


def _index(endpoints: list[Endpoint]) -> Handler:
    table = {f"{each.method} {each.plain_path}": each.operation.summary for each in endpoints}

    async def index(_: web.Request) -> web.Response:
        return json_reply({"name": "repertory", "endpoints": table})

    return index
