"""`/policies/{dataType}`: what decides whose answer each record gets, set, shown and rolled back."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.actors.policies.settings import read_settings
from repertory.errors import DeadlineExceeded, InvalidRequest, NotFound
from repertory.http.asking import ask
from repertory.http.publishing import REJECTED, flag, version_of
from repertory.http.replies import json_reply
from repertory.http.visitor import new_origin, visitor_now

# Models may have to be compiled again, opened and measured, and others are admitted before.
POLICY_SECONDS = 90.0
IN_FORCE = "IN_FORCE"


class Policies:
    """Hands policies to the keeper."""

    def __init__(self, router: RouterClient) -> None:
        self._router = router

    async def put(self, request: web.Request) -> web.Response:
        """Answer 200 when the policy is in force, 202 when it is on its way, 422 when rejected."""
        wait = flag(request, "wait", default=True)
        document = _document(await request.read())
        description = document.pop("description", "")
        if not isinstance(description, str):
            raise InvalidRequest(f"description must be a text, not {description!r:.60}")
        settings = orjson.dumps(document).decode()
        _check(settings, request.match_info["dataType"])
        return await self._change(
            request,
            "policy",
            settings=settings,
            description=description,
            wait=wait,
        )

    async def remove(self, request: web.Request) -> web.Response:
        """Answer 200 when no policy is in force any more, whether one was or not."""
        return await self._change(request, "policy", settings="")

    async def roll_back(self, request: web.Request) -> web.Response:
        """Answer 200 when the settings of an earlier version are in force, as a new version."""
        version = version_of(await request.read())
        return await self._change(request, "policy_rollback", version=version)

    async def get(self, request: web.Request) -> web.Response:
        """Answer with the policy in force, 404 when there is none."""
        policies = await self._policies(request)
        found = next((each for each in policies if each["state"] == IN_FORCE), None)
        if found is None or found["settings"] is None:
            raise NotFound(f"{request.match_info['dataType']!r} has no policy")
        return json_reply(found)

    async def versions(self, request: web.Request) -> web.Response:
        """Answer with all policies there were, the newest first."""
        policies = await self._policies(request)
        return json_reply({"dataType": request.match_info["dataType"], "policies": policies})

    async def _policies(self, request: web.Request) -> list[dict[str, Any]]:
        answer = await ask(self._router, "policies", data_type=request.match_info["dataType"])
        policies: list[dict[str, Any]] = answer["policies"]
        return policies

    async def _change(self, request: web.Request, subject: str, **data: Any) -> web.Response:
        asking = ask(
            self._router,
            subject,
            timeout=POLICY_SECONDS,
            data_type=request.match_info["dataType"],
            origin=new_origin(),
            **data,
        )
        try:
            # What came whole is done whole, also when the client does not wait for the reply.
            answer = await asyncio.shield(asyncio.ensure_future(asking))
        except DeadlineExceeded:
            raise DeadlineExceeded(
                f"the policy was not in force within {POLICY_SECONDS:g} s;"
                " GET /policies/{dataType}/versions tells what became of it"
            ) from None
        return _outcome(answer)


def _check(settings: str, data_type: str) -> None:
    """Raise InvalidRequest, and say so in the audit log, for what can be no policy.

    The keeper would take `"0.1"` for a number, as it has to in journals.
    """
    try:
        read_settings(settings, strict=True)
    except InvalidRequest as error:
        if (visitor := visitor_now()) is not None:
            about = {"dataType": data_type, "settings": settings}
            visitor.note("policy", "failed", **about, reason=str(error))
        raise


def _outcome(answer: Mapping[str, Any]) -> web.Response:
    body = {key: value for key, value in answer.items() if value not in ("", None)}
    if answer["state"] == REJECTED:
        return json_reply({"error": answer.get("reason") or "rejected", **body}, status=422)
    return json_reply(body, status=202 if answer["state"] == "PUBLISHED" else 200)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidRequest(
            'the body must be an object such as {"policy": "deadline", "slots": ["forest", "tree"],'
            ' "deadlineMs": 20}'
        )
    return document
