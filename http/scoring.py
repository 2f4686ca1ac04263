"""`POST /score/{dataType}`: records in, one outcome for each of them out."""

import asyncio
import math
from dataclasses import asdict
from typing import Any

from aiohttp import hdrs, web

from repertory.actors.batch import Label, ModelRef, Outcome, RecordFailed
from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.errors import InvalidRequest, NoModel
from repertory.http.asking import ask
from repertory.http.dispatch import Dispatcher
from repertory.http.record_body import read_records
from repertory.http.replies import json_reply

TIMEOUT_HEADER = "X-Request-Timeout"
# A client that needs longer for its body holds memory for nothing.
BODY_SECONDS = 60.0


class Scoring:
    """Has records scored."""

    def __init__(self, config: ClusterConfig, router: RouterClient) -> None:
        self._http = config.http
        self._router = router
        self._dispatcher = Dispatcher(config, router)

    async def score(self, request: web.Request) -> web.Response:
        """Answer with the outcomes; 200 also when some, or all, of the records failed."""
        data_type = request.match_info["dataType"]
        self._dispatcher.check(data_type)
        seconds = seconds_allowed(request, self._http.deadline_ms / 1000)
        body = read_records(await self._body(request), content_type(request))
        deadline = asyncio.get_running_loop().time() + seconds
        if not body.items:
            return _reply(data_type, await self._model(data_type, seconds), [])
        scored = await self._dispatcher.score(data_type, body, deadline=deadline)
        outcomes = [outcome_json(outcome) for outcome in scored.outcomes]
        return _reply(data_type, scored.model, outcomes)

    async def _body(self, request: web.Request) -> bytes:
        limit = self._http.max_body_mb
        try:
            if (request.content_length or 0) > request.client_max_size:
                raise web.HTTPRequestEntityTooLarge(request.client_max_size)
            async with asyncio.timeout(BODY_SECONDS):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            text = f"the body is larger than {limit} MiB (http.max_body_mb): send fewer records"
            raise web.HTTPRequestEntityTooLarge(request.client_max_size, text=text) from None
        except TimeoutError:
            text = f"the body did not arrive within {BODY_SECONDS:g} s"
            raise web.HTTPRequestTimeout(text=text) from None

    async def _model(self, data_type: str, seconds: float) -> ModelRef | None:
        try:
            state = await ask(self._router, "state", timeout=seconds, data_type=data_type)
        except NoModel:
            return None
        return ModelRef(state["name"], state["version"], state["sha256"])


def seconds_allowed(request: web.Request, most: float) -> float:
    """Return how long a request may take: `most`, or less when its header says so."""
    text = request.headers.get(TIMEOUT_HEADER)
    if text is None:
        return most
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InvalidRequest(f"{TIMEOUT_HEADER} must be a number of seconds above 0, not {text!r}")
    return min(seconds, most)


def content_type(request: web.Request) -> str:
    """Return the content type that the client gave; empty when it gave none."""
    return request.content_type if hdrs.CONTENT_TYPE in request.headers else ""


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return what the reply says of one record."""
    if isinstance(outcome, RecordFailed):
        return {"error": outcome.message, "code": outcome.code}
    if isinstance(outcome, Label):
        if outcome.probabilities:
            return {"label": outcome.label, "probabilities": outcome.probabilities}
        return {"label": outcome.label}
    return {"value": outcome.value}


def _reply(data_type: str, model: ModelRef | None, results: list[dict[str, Any]]) -> web.Response:
    about = asdict(model) if model else None
    return json_reply({"dataType": data_type, "model": about, "results": results})
