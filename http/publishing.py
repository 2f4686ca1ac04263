"""`POST /models`, roll back and retire: a model comes or goes, and the reply says what became of it."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

import orjson
from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig, NodePaths
from repertory.errors import DeadlineExceeded, InvalidRequest, PublishRejected
from repertory.http.asking import ask
from repertory.http.replies import error_reply, json_reply
from repertory.http.spool import Spool
from repertory.http.upload import Question, read_upload
from repertory.http.visitor import new_origin

# A check may take models.check_seconds, others may be checked before it, and loading adds to it.
PUBLISH_SECONDS = 90.0

REJECTED = "REJECTED"
# What a version that was published can be found in later.
_SERVED = frozenset({"SERVING", "RETIRED"})
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Publishing:
    """Hands models to the keeper."""

    def __init__(self, config: ClusterConfig, paths: NodePaths, router: RouterClient) -> None:
        self._max_mb = config.models.max_mb
        self._folder = paths.spool
        self._router = router
        self._handing_over: set[asyncio.Task[dict[str, Any]]] = set()

    async def publish(self, request: web.Request) -> web.Response:
        """Answer 201 when the model serves, 202 when it is on its way, 422 when it is rejected."""
        wait = flag(request, "wait", default=True)
        with self.spool() as spool:
            question = await read_upload(request, spool)
        return await _reply(self.hand_over(spool, question, wait=wait), created=201)

    def spool(self) -> Spool:
        """Return where an upload is to wait."""
        return Spool(self._folder, max_mb=self._max_mb)

    def hand_over(
        self, spool: Spool, question: Question, *, wait: bool
    ) -> asyncio.Future[dict[str, Any]]:
        """Have the keeper publish what came whole; its answer is what became of it.

        It is published whole, also when the client does not wait for the reply.
        """
        task = asyncio.create_task(self._hand_over(spool, question, wait=wait))
        self._handing_over.add(task)
        task.add_done_callback(self._handing_over.discard)
        return asyncio.shield(task)

    async def roll_back(self, request: web.Request) -> web.Response:
        """Answer 200 when a version that served before serves again."""
        data_type = request.match_info["dataType"]
        version = version_of(await request.read())
        asking = ask(
            self._router, "rollback", timeout=PUBLISH_SECONDS, data_type=data_type, version=version
        )
        return await _reply(asyncio.ensure_future(asking), created=200)

    async def retire(self, request: web.Request) -> web.Response:
        """Answer 200 when no model of a data type serves any more, whether one did or not."""
        asking = ask(
            self._router,
            "retire",
            timeout=PUBLISH_SECONDS,
            data_type=request.match_info["dataType"],
            origin=new_origin(),
        )
        return await _reply(asyncio.ensure_future(asking), created=200)

    async def _hand_over(self, spool: Spool, question: Question, *, wait: bool) -> dict[str, Any]:
        origin = new_origin()
        whole = {**_NOTHING, **question, "origin": origin, "wait": wait}
        try:
            return await ask(self._router, "publish", timeout=PUBLISH_SECONDS, **whole)
        finally:
            spool.remove()


_NOTHING: Question = {
    "data_type": None,
    "name": None,
    "description": "",
    "model_type": None,
    "signature": None,
    "location": None,
    "content_file": None,
    "descriptor_file": None,
}


async def _reply(asking: Awaitable[dict[str, Any]], *, created: int) -> web.Response:
    try:
        answer = await asking
    except PublishRejected as error:
        return error_reply(422, str(error), state=REJECTED, reason=str(error))
    except DeadlineExceeded:
        raise DeadlineExceeded(
            f"the model was not checked within {PUBLISH_SECONDS:g} s; "
            "GET /models/{dataType}/versions tells what became of it"
        ) from None
    return _outcome(answer, created)


def _outcome(answer: Mapping[str, Any], created: int) -> web.Response:
    body = {key: value for key, value in answer.items() if value not in ("", None)}
    if answer["state"] == REJECTED:
        return json_reply({"error": answer.get("reason") or "rejected", **body}, status=422)
    return json_reply(body, status=created if answer["state"] in _SERVED else 202)


def flag(request: web.Request, name: str, *, default: bool) -> bool:
    """Return a truth value of the query string. Raises InvalidRequest."""
    text = request.query.get(name)
    if text is None:
        return default
    if text.lower() not in _FLAGS:
        raise InvalidRequest(f"{name} must be true or false, not {text!r}")
    return _FLAGS[text.lower()]


def version_of(body: bytes) -> int:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    version = document.get("version") if isinstance(document, dict) else None
    if type(version) is not int or version < 1:
        raise InvalidRequest('the body must be {"version": N}, with N a whole number above 0')
    return version
