"""`POST /score/{dataType}`: records in, one outcome for each of them out."""

import asyncio
import math
from typing import Any

from aiohttp import hdrs, web

from repertory.actors.batch import Label, ModelRef, Outcome, RecordFailed, SlotReport
from repertory.actors.client import RouterClient
from repertory.actors.policies.reports import RecordDecision, Together
from repertory.config import MEBIBYTE, ClusterConfig
from repertory.errors import InvalidRequest, NoModel
from repertory.http.asking import ask
from repertory.http.dispatch import Answered, Dispatcher
from repertory.http.publishing import flag
from repertory.http.record_body import read_records
from repertory.http.replies import json_reply

TIMEOUT_HEADER = "X-Request-Timeout"
# A client that needs longer for its body holds memory for nothing.
BODY_SECONDS = 60.0


class Scoring:
    """Has records scored."""

    def __init__(self, config: ClusterConfig, router: RouterClient, dispatcher: Dispatcher) -> None:
        self._http = config.http
        self._router = router
        self._dispatcher = dispatcher

    async def score(self, request: web.Request) -> web.Response:
        """Answer with the outcomes; 200 also when some, or all, of the records failed."""
        data_type = request.match_info["dataType"]
        self._dispatcher.check(data_type)
        seconds = seconds_allowed(request, self._http.deadline_ms / 1000)
        explain = flag(request, "explain", default=False)
        body = read_records(await read_body(request), content_type(request))
        deadline = asyncio.get_running_loop().time() + seconds
        if not body.items:
            return _reply(data_type, await self._model(data_type, seconds), {"results": []})
        scored = await self._dispatcher.score(data_type, body, deadline=deadline, explain=explain)
        return _reply(data_type, scored.model, answered_json(scored, explain=explain))

    async def _model(self, data_type: str, seconds: float) -> ModelRef | None:
        try:
            state = await ask(self._router, "state", timeout=seconds, data_type=data_type)
        except NoModel:
            return None
        if "sha256" not in state:
            return None  # where a policy chooses, no record has no model
        return ModelRef(state["name"], state["version"], state["sha256"])


async def read_body(request: web.Request) -> bytes:
    """Return the whole body. Raises HTTP errors for what is too large or too slow."""
    limit = request.client_max_size
    try:
        if (request.content_length or 0) > limit:
            raise web.HTTPRequestEntityTooLarge(limit)
        if request.content.is_eof():  # it came with the head, as small ones do
            return await request.read()
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        most = limit // MEBIBYTE
        text = f"the body is larger than {most} MiB (http.max_body_mb): send fewer records"
        raise web.HTTPRequestEntityTooLarge(limit, text=text) from None
    except TimeoutError:
        text = f"the body did not arrive within {BODY_SECONDS:g} s"
        raise web.HTTPRequestTimeout(text=text) from None


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


def answered_json(scored: Answered, *, explain: bool) -> dict[str, Any]:
    """Return what the reply says of each record, and how a policy chose."""
    results = [outcome_json(outcome) for outcome in scored.outcomes]
    choices = scored.choices
    if choices is None:
        return {"results": results}
    for result, decision in zip(results, choices.decisions, strict=True):
        if "error" not in result:
            result |= _decision_json(decision, scored.model)
    if explain:
        for result, said in zip(results, choices.said, strict=True):
            result["answers"] = [_answer_json(slot, outcome) for slot, outcome in said]
    return {"policy": _policy_json(choices.policy), "results": results}


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return what the reply says of one record."""
    if isinstance(outcome, RecordFailed):
        return {"error": outcome.message, "code": outcome.code}
    if isinstance(outcome, Label):
        if outcome.probabilities:
            return {"label": outcome.label, "probabilities": outcome.probabilities}
        return {"label": outcome.label}
    return {"value": outcome.value}


def _decision_json(decision: RecordDecision, instead: ModelRef) -> dict[str, Any]:
    model = decision.model or instead
    return {
        "slot": decision.slot,
        "model": {"name": model.name, "version": model.version},
        "fallback": decision.fallback,
    }


def _answer_json(slot: SlotReport, outcome: Outcome) -> dict[str, Any]:
    version = None if slot.model is None else slot.model.version
    return {"slot": slot.slot, "version": version, **outcome_json(outcome)}


def _policy_json(policy: Together) -> dict[str, Any]:
    slack = policy.slack_seconds
    return {
        "name": policy.policy,
        "version": policy.version,
        "slackMs": None if slack is None else round(slack * 1000, 3),
        "slots": [_slot_json(each) for each in policy.slots],
    }


def _slot_json(slot: SlotReport) -> dict[str, Any]:
    return {
        "slot": slot.slot,
        "state": slot.state,
        "shadow": slot.shadow,
        "model": _model_json(slot.model),
        "reason": slot.reason,
    }


def _reply(data_type: str, model: ModelRef | None, answer: dict[str, Any]) -> web.Response:
    return json_reply({"dataType": data_type, "model": _model_json(model), **answer})


def _model_json(model: ModelRef | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return {"name": model.name, "version": model.version, "sha256": model.sha256}
