"""The table of endpoints."""

import re
from itertools import starmap
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from repertory.actors.client import RouterClient
from repertory.config import MEBIBYTE, ClusterConfig, NodePaths
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
from repertory.http.tfs import TensorFlowServing


class Endpoint(NamedTuple):
    """A method and a path, what answers there, and a line about it."""

    method: str
    path: str
    handler: Handler
    about: str

    @property
    def plain_path(self) -> str:
        """The path, without what its parts have to match."""
        return re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", self.path)


class Core(NamedTuple):
    """What answers over gRPC as well."""

    inference: Inference
    publishing: Publishing
    health: Health


CORE = web.AppKey("core", Core)


def make_app(
    config: ClusterConfig, paths: NodePaths, router: RouterClient, in_hand: InHand
) -> web.Application:
    """Return the application that serves all endpoints."""
    health, metrics = Health(router, in_hand), Metrics(router)
    publishing, dispatcher = Publishing(config, paths, router), Dispatcher(config, router)
    inference = Inference(config, router, dispatcher)
    open_inference = OpenInference(config, router, inference, publishing, health)
    endpoints = [
        *_queries(Queries(router)),
        *_cluster(Clusters(router)),
        *_models(publishing),
        *_policies(Policies(router)),
        Endpoint("GET", "/compare/{dataType}", Comparisons(router).compare, "how models differ"),
        Endpoint(
            "POST", "/score/{dataType}", Scoring(config, router, dispatcher).score, "score records"
        ),
        *starmap(Endpoint, open_inference.endpoints()),
        *starmap(Endpoint, TensorFlowServing(config, router, inference).endpoints()),
        Endpoint("GET", "/events", Live(config, router, in_hand).events, "what is, as it changes"),
        Endpoint("GET", "/health/live", health.live, "whether this process runs"),
        Endpoint("GET", "/health/ready", health.ready, "whether the node is ready for records"),
        Endpoint("GET", "/metrics", metrics.expose, "figures for Prometheus"),
        Endpoint("GET", "/monitoring/prometheus/metrics", metrics.expose, "the same"),
    ]
    app = web.Application(
        middlewares=[in_hand.hold, metrics.count, errors_as_json],
        client_max_size=config.http.max_body_mb * MEBIBYTE,
    )
    app[CORE] = Core(inference, publishing, health)
    page = Page()
    app.router.add_get("/", page.or_else(_index(endpoints)))
    app.router.add_get("/page/{file:.+}", page.file)
    for endpoint in endpoints:
        app.router.add_route(endpoint.method, endpoint.path, endpoint.handler)
    return app


def _queries(queries: Queries) -> list[Endpoint]:
    return [
        Endpoint("GET", "/models", queries.models, "the models that serve"),
        Endpoint("GET", "/processors", queries.processors, "the data types that are served"),
        Endpoint("GET", "/state/{dataType}", queries.state, "how a data type's models do"),
        Endpoint("GET", "/models/{dataType}/versions", queries.versions, "all its versions"),
        Endpoint("GET", "/status", queries.status, "how the node does"),
    ]


def _cluster(clusters: Clusters) -> list[Endpoint]:
    return [
        Endpoint("GET", "/cluster", clusters.cluster, "the nodes, and who serves what"),
        Endpoint("GET", "/cluster/members/{node}", clusters.member, "one of the nodes"),
    ]


def _models(publishing: Publishing) -> list[Endpoint]:
    return [
        Endpoint("POST", "/models", publishing.publish, "publish a model"),
        Endpoint("DELETE", "/models/{dataType}", publishing.retire, "retire a data type's model"),
        Endpoint(
            "POST", "/models/{dataType}/rollback", publishing.roll_back, "serve an old version"
        ),
    ]


def _policies(policies: Policies) -> list[Endpoint]:
    path = "/policies/{dataType}"
    return [
        Endpoint("PUT", path, policies.put, "choose among several models"),
        Endpoint("GET", path, policies.get, "the policy in force"),
        Endpoint("DELETE", path, policies.remove, "have no policy any more"),
        Endpoint("GET", f"{path}/versions", policies.versions, "all policies there were"),
        Endpoint("POST", f"{path}/rollback", policies.roll_back, "put an old policy in force"),
    ]


def _index(endpoints: list[Endpoint]) -> Handler:
    table = {f"{each.method} {each.plain_path}": each.about for each in endpoints}

    async def index(_: web.Request) -> web.Response:
        return json_reply({"name": "repertory", "endpoints": table})

    return index
