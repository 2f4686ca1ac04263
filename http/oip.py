"""The Open Inference Protocol over REST, with its extensions: the endpoints below `/v2`.

Source: the published protocol (kserve/open-inference-protocol) and Triton's extensions of it.
"""

from collections.abc import Iterator

from aiohttp import web
from aiohttp.typedefs import Handler

import repertory
from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.http.inference import Inference
from repertory.http.oip_binary import LENGTH_HEADER, length_of_json, raw_tensor
from repertory.http.oip_models import Models
from repertory.http.oip_reply import check_outputs, infer_reply
from repertory.http.oip_repository import Repository
from repertory.http.oip_request import InferRequest, read_request
from repertory.http.oip_statistics import Statistics
from repertory.http.openapi import inference_protocol as told
from repertory.http.openapi import queries as node
from repertory.http.openapi.operation import Operation
from repertory.http.publishing import Publishing
from repertory.http.queries import Health
from repertory.http.replies import json_reply
from repertory.http.scoring import read_body, seconds_allowed
from repertory.http.signature import Signature
from repertory.http.visitor import OPEN, PUBLISH, READ, SCORE, Needed

EXTENSIONS = ("binary_tensor_data", "model_repository", "model_configuration", "statistics")
_MODEL = "/v2/models/{model}"
_REPOSITORY = "/v2/repository/models/{model}"

Endpoints = Iterator[tuple[str, str, Handler, Needed, Operation]]


class OpenInference:
    """Answers those who speak the Open Inference Protocol."""

    def __init__(
        self,
        config: ClusterConfig,
        router: RouterClient,
        inference: Inference,
        publishing: Publishing,
        health: Health,
    ) -> None:
        self._seconds = config.http.deadline_ms / 1000
        self._inference = inference
        self._health = health
        self._models = Models(config, router, inference)
        self._statistics = Statistics(router, self._models)
        self._repository = Repository(router, inference, self._models, publishing)

    def endpoints(self) -> Endpoints:
        """Yield method, path, handler, the role that it needs, and what else is told."""
        models, repository, statistics = self._models, self._repository, self._statistics
        yield "GET", "/v2", self.server, READ, told.SERVER
        yield "GET", "/v2/health/live", self._health.live, OPEN, node.LIVE
        yield "GET", "/v2/health/ready", self._health.ready, OPEN, node.READY
        yield "GET", "/v2/models", models.names, READ, told.NAMES_OF_MODELS
        yield "GET", "/v2/models/stats", statistics.all, READ, told.ALL_STATISTICS
        yield "POST", "/v2/repository/index", repository.index, READ, told.INDEX
        yield "POST", f"{_REPOSITORY}/load", repository.load, PUBLISH, told.LOAD
        yield "POST", f"{_REPOSITORY}/unload", repository.unload, PUBLISH, told.UNLOAD
        for path in (_MODEL, f"{_MODEL}/versions/{{version}}"):
            yield "GET", path, models.metadata, READ, told.METADATA
            yield "GET", f"{path}/ready", models.ready, READ, told.MODEL_READY
            yield "POST", f"{path}/infer", self.infer, SCORE, told.INFER
            yield "GET", f"{path}/stats", statistics.one, READ, told.STATISTICS
            yield "GET", f"{path}/config", models.config, READ, told.CONFIG

    async def server(self, _: web.Request) -> web.Response:
        """Answer who this is, and which extensions are here."""
        version = repertory.__version__
        return json_reply({"name": "repertory", "version": version, "extensions": EXTENSIONS})

    async def infer(self, request: web.Request) -> web.Response:
        """Answer with the outputs for all records, of one model version."""
        name, version = request.match_info["model"], request.match_info.get("version", "")
        target = await self._inference.target(name, version)
        json_bytes = length_of_json(request.headers.get(LENGTH_HEADER))
        wanted = _request(await read_body(request), json_bytes, target.signature)
        check_outputs(wanted)
        seconds = seconds_allowed(request, self._seconds)
        if wanted.seconds is not None:
            seconds = min(seconds, wanted.seconds)
        inferred = await self._inference.infer(target, wanted.tensors, seconds=seconds)
        return infer_reply(name, wanted, inferred)


def _request(body: bytes, json_bytes: int | None, signature: Signature) -> InferRequest:
    if json_bytes == 0:
        return InferRequest((raw_tensor(signature, body),), binary=True)
    return read_request(body, json_bytes)
