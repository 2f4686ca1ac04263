"""The repository of models: that extension of the Open Inference Protocol.

Source: Triton's protocol/extension_model_repository.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.errors import InvalidRequest, PublishRejected, Unavailable, UnknownDataType
from repertory.http.asking import ask
from repertory.http.base64_file import decode_base64
from repertory.http.inference import Inference
from repertory.http.oip_models import Models, Told
from repertory.http.publishing import PUBLISH_SECONDS, Publishing
from repertory.http.replies import json_reply
from repertory.http.scoring import read_body
from repertory.http.spool import Spool, SpoolFile
from repertory.http.upload import Question, read_json
from repertory.http.visitor import new_origin

READY, LOADING, UNAVAILABLE = "READY", "LOADING", "UNAVAILABLE"
# In the words of the protocol; what is said to serve, but does not on any node, is on its way.
_STATES = {"PUBLISHED": LOADING, "LOADING": LOADING, "SERVING": LOADING}
_FILE = "file:"


class Repository:
    """Lists, publishes and retires models."""

    def __init__(
        self, router: RouterClient, inference: Inference, models: Models, publishing: Publishing
    ) -> None:
        self._router = router
        self._inference = inference
        self._models = models
        self._publishing = publishing

    async def index(self, request: web.Request) -> web.Response:
        """Answer what became of each version of each data type, or which are ready alone."""
        entries = await self.entries(only_ready=_only_ready(await read_body(request)))
        return web.Response(body=orjson.dumps(entries), content_type="application/json")

    async def entries(self, *, only_ready: bool) -> Sequence[Told]:
        """Return what became of each version of each data type, or which are ready alone."""
        serving = await self._models.on_stage()
        names = self._inference.signatures
        if only_ready:
            return [_entry(each, READY) for each in serving]
        histories = await asyncio.gather(*map(self._history, names))
        return [
            entry
            for name, versions in zip(names, histories, strict=True)
            for entry in _entries(name, versions, serving)
        ]

    async def load(self, request: web.Request) -> web.Response:
        """Publish the file in the request, and answer 200 when it serves; 400 when it will not."""
        name, data_type = request.match_info["model"], request.query.get("dataType")

        async def read(spool: Spool) -> Question:
            return await _read_load(request, spool)

        return json_reply(await self.publish(name, data_type, read))

    async def publish(
        self, name: str, data_type: str | None, read: Callable[[Spool], Awaitable[Question]]
    ) -> Told:
        """Publish what `read` puts in a spool, under a name; if that is nothing, it serves already.

        `data_type` is that of a new name. Returns when it serves; raises InvalidRequest when it
        will not.
        """
        if data_type is None:
            data_type = (await self._inference.target(name)).data_type
        elif data_type not in self._inference.signatures:
            raise UnknownDataType(f"there is no data type {data_type!r}")
        with self._publishing.spool() as spool:
            question = await read(spool)
        if "content_file" not in question:
            spool.remove()
            return await self._loaded(name)
        question |= {"data_type": data_type, "name": name}
        try:
            answer = await self._publishing.hand_over(spool, question, wait=True)
        except PublishRejected as error:
            raise InvalidRequest(str(error)) from None
        return _published(name, answer)

    async def unload(self, request: web.Request) -> web.Response:
        """Retire what a data type has on stage, and answer 200 when it has left."""
        _document(await read_body(request))
        return json_reply(await self.retire(request.match_info["model"]))

    async def retire(self, name: str) -> Told:
        """Retire what a data type has on stage. Raises InvalidRequest where that is more."""
        named = await self._models.find(name)
        data_type = named.target.data_type
        others = {each["name"] for each in await self._models.on_stage() if _is_of(each, data_type)}
        if named.name != data_type and others - {named.name}:
            raise InvalidRequest(
                f"{data_type!r} has several models on stage ({', '.join(sorted(others))}): unload"
                f" {data_type!r} to retire them all, or change its policy"
            )
        origin = new_origin()
        return await ask(
            self._router, "retire", timeout=PUBLISH_SECONDS, data_type=data_type, origin=origin
        )

    async def _loaded(self, name: str) -> Told:
        named = await self._models.find(name)
        if not named.models:
            raise InvalidRequest(
                f"no model serves {named.name!r}, and this request has none: send it in base64 as"
                ' {"parameters": {"file:model.onnx": "…"}}, or roll back to a version'
                f" by POST /models/{named.target.data_type}/rollback"
            )
        return _entry(named.models[0], READY)

    async def _history(self, data_type: str) -> Sequence[Told]:
        return list((await ask(self._router, "versions", data_type=data_type))["versions"])


async def _read_load(request: web.Request, spool: Spool) -> Question:
    """Return the file of a request, in the spool; nothing when it has none."""
    if not request.can_read_body:
        return {}
    return await read_json(request, spool, _understood)


def _understood(document: dict[str, Any], content: SpoolFile) -> Question:
    parameters = _parameters(document)
    signature = parameters.get("signature")
    if not isinstance(signature, str | None):
        raise InvalidRequest(f"signature must be a string, not {signature!r:.60}")
    files = [key for key in parameters if key.startswith(_FILE)]
    if not files:
        return {}
    if len(files) > 1:
        raise InvalidRequest(
            f"a model is one file, not {len(files)} ({', '.join(files)}): send a SavedModel as .zip"
        )
    (name,) = files
    if not isinstance(parameters[name], str):
        raise InvalidRequest(f"{name} must be base64 in a string, not {parameters[name]!r:.60}")
    decode_base64(parameters[name], content)
    return {"content_file": str(content.path), "signature": signature}


def _published(name: str, answer: Told) -> Told:
    state, reason = answer["state"], answer.get("reason")
    if state in ("SERVING", "RETIRED"):  # retired: another was published meanwhile
        return answer
    if state == "PUBLISHED":
        raise Unavailable(f"{name!r} is published and not checked yet; ask for the index")
    about = f"version {answer['version']} of {name!r} is {state} and does not serve"
    raise InvalidRequest(f"{about}: {reason}" if reason else about)


def _entries(name: str, versions: Sequence[Told], serving: Sequence[Told]) -> Iterator[Told]:
    on_stage = {each["version"]: each for each in serving if _is_of(each, name)}
    if not versions and not on_stage:
        yield {"name": name, "state": UNAVAILABLE, "reason": "no model was published"}
    for each in versions:
        if each["version"] in on_stage:
            yield _entry(each, READY)
        else:
            state = _STATES.get(each["state"], UNAVAILABLE)
            yield _entry(each, state, each["reason"] or each["state"].lower())


def _entry(model: Told, state: str, reason: str = "") -> dict[str, Any]:
    return {
        "name": model["dataType"],
        "version": str(model["version"]),
        "state": state,
        "reason": reason,
        "model": model["name"],
        "sha256": model["sha256"],
    }


def _is_of(model: Told, data_type: str) -> bool:
    return bool(model["dataType"] == data_type)


def _only_ready(body: bytes) -> bool:
    ready = _document(body).get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidRequest(f"ready must be true or false, not {ready!r:.60}")
    return ready


def _document(body: bytes) -> dict[str, Any]:
    """Return the object that a body is, which may as well be empty."""
    try:
        document = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidRequest(f"the body must be a JSON object, not {document!r:.60}")
    return document


def _parameters(document: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = document.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequest(f"parameters must be a JSON object, not {parameters!r:.60}")
    return parameters or {}
