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
_OF_NO_OR_ONE = frozenset({"GET /v2", "POST /models"})


class Endpoint(NamedTuple):
    """A method and a path, what answers there, a line about it, and the role that it needs."""

    method: str
    path: str
    handler: Handler
    about: str
    role: Needed = ADMIN

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
    endpoints = [
        *_queries(Queries(router)),
        *_cluster(Clusters(router)),
        *_models(publishing),
        *_policies(Policies(router)),
        Endpoint(
            "GET", "/compare/{dataType}", Comparisons(router).compare, "how models differ", READ
        ),
        Endpoint(
            "POST",
            "/score/{dataType}",
            Scoring(config, router, dispatcher).score,
            "score records",
            SCORE,
        ),
        *starmap(Endpoint, open_inference.endpoints()),
        *starmap(Endpoint, TensorFlowServing(config, router, inference).endpoints()),
        Endpoint(
            "GET", "/events", Live(config, router, in_hand).events, "what is, as it changes", READ
        ),
        Endpoint("GET", "/health/live", health.live, "whether this process runs", OPEN),
        Endpoint(
            "GET", "/health/ready", health.ready, "whether the node is ready for records", OPEN
        ),
        Endpoint("GET", "/metrics", metrics.expose, "figures for Prometheus", READ),
        Endpoint("GET", "/monitoring/prometheus/metrics", metrics.expose, "the same", READ),
    ]
    app = web.Application(
        middlewares=[in_hand.hold, metrics.count, errors_as_json, access.guard],
        client_max_size=config.http.max_body_mb * MEBIBYTE,
    )
    app[ACCESS] = access
    app[CORE] = Core(inference, publishing, health, access)
    page = Page()
    for path, handler in (("/", page.or_else(_index(endpoints))), ("/page/{file:.+}", page.file)):
        resource = app.router.add_resource(path)
        for method in ("GET", "HEAD"):
            access.protect(resource.add_route(method, handler), READ, of_all=False)
    for endpoint in endpoints:
        route = app.router.add_route(endpoint.method, endpoint.path, endpoint.handler)
        access.protect(route, endpoint.role, of_all=endpoint.of_all)
    return app


def _queries(queries: Queries) -> list[Endpoint]:
    return [
        Endpoint("GET", "/models", queries.models, "the models that serve", READ),
        Endpoint("GET", "/processors", queries.processors, "the data types that are served", READ),
        Endpoint("GET", "/state/{dataType}", queries.state, "how a data type's models do", READ),
        Endpoint("GET", "/models/{dataType}/versions", queries.versions, "all its versions", READ),
        Endpoint("GET", "/status", queries.status, "how the node does", READ),
    ]


def _cluster(clusters: Clusters) -> list[Endpoint]:
    return [
        Endpoint("GET", "/cluster", clusters.cluster, "the nodes, and who serves what", READ),
        Endpoint("GET", "/cluster/members/{node}", clusters.member, "one of the nodes", READ),
    ]


def _models(publishing: Publishing) -> list[Endpoint]:
    return [
        Endpoint("POST", "/models", publishing.publish, "publish a model", PUBLISH),
        Endpoint(
            "DELETE", "/models/{dataType}", publishing.retire, "retire a data type's model", PUBLISH
        ),
        Endpoint(
            "POST",
            "/models/{dataType}/rollback",
            publishing.roll_back,
            "serve an old version",
            PUBLISH,
        ),
    ]


def _policies(policies: Policies) -> list[Endpoint]:
    path = "/policies/{dataType}"
    return [
        Endpoint("PUT", path, policies.put, "choose among several models", PUBLISH),
        Endpoint("GET", path, policies.get, "the policy in force", READ),
        Endpoint("DELETE", path, policies.remove, "have no policy any more", PUBLISH),
        Endpoint("GET", f"{path}/versions", policies.versions, "all policies there were", READ),
        Endpoint(
            "POST", f"{path}/rollback", policies.roll_back, "put an old policy in force", PUBLISH
        ),
    ]


def _index(endpoints: list[Endpoint]) -> Handler:
    table = {f"{each.method} {each.plain_path}": each.about for each in endpoints}

    async def index(_: web.Request) -> web.Response:
        return json_reply({"name": "repertory", "endpoints": table})

    return index
