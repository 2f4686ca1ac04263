"""TensorFlow Serving's REST API: the endpoints below `/v1/models`.

Source: api_rest.md and http_rest_api_handler.cc of tensorflow/serving.
"""

from collections.abc import Iterator

from aiohttp import web
from aiohttp.typedefs import Handler

from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.http.inference import Inference, Inferred
from repertory.http.openapi import tensorflow_serving as told
from repertory.http.openapi.operation import Operation
from repertory.http.scoring import read_body, seconds_allowed
from repertory.http.tfs_models import TfsModels
from repertory.http.tfs_names import Names, Path
from repertory.http.tfs_reply import classify_reply, predict_reply, regress_reply
from repertory.http.tfs_request import read_examples, read_predict
from repertory.http.visitor import READ, SCORE, Needed

_MODEL = "/v1/models/{model:[^/:]+}"
_PATHS = (_MODEL, f"{_MODEL}/versions/{{version:[0-9]+}}", f"{_MODEL}/labels/{{label:[^/:]+}}")


class TensorFlowServing:
    """Answers those who speak TensorFlow Serving's REST API."""

    def __init__(self, config: ClusterConfig, router: RouterClient, inference: Inference) -> None:
        self._seconds = config.http.deadline_ms / 1000
        self._inference = inference
        self._names = Names(router, inference)
        self._models = TfsModels(router, inference, self._names)

    def endpoints(self) -> Iterator[tuple[str, str, Handler, Needed, Operation]]:
        """Yield method, path, handler, the role that it needs, and what else is told."""
        for path in _PATHS:
            yield "GET", path, self._models.status, READ, told.STATUS
            yield "GET", f"{path}/metadata", self._models.metadata, READ, told.METADATA
            yield "POST", f"{path}:predict", self.predict, SCORE, told.PREDICT
            yield "POST", f"{path}:classify", self.classify, SCORE, told.CLASSIFY
            yield "POST", f"{path}:regress", self.regress, SCORE, told.REGRESS

    async def predict(self, request: web.Request) -> web.Response:
        """Answer by row what was asked by row, and by column what was asked by column."""
        target = await self._names.target(Path.of(request))
        wanted = read_predict(await read_body(request), target.signature)
        seconds = seconds_allowed(request, self._seconds)
        inferred = await self._inference.infer(target, wanted.tensors, seconds=seconds)
        return predict_reply(inferred, row=wanted.row)

    async def classify(self, request: web.Request) -> web.Response:
        """Answer with the classes of each example."""
        return classify_reply(await self._examples(request))

    async def regress(self, request: web.Request) -> web.Response:
        """Answer with the value of each example."""
        return regress_reply(await self._examples(request))

    async def _examples(self, request: web.Request) -> Inferred:
        target = await self._names.target(Path.of(request))
        tensors = read_examples(await read_body(request), target.signature)
        seconds = seconds_allowed(request, self._seconds)
        return await self._inference.infer(target, tensors, seconds=seconds)
