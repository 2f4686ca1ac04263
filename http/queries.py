"""What a node tells of itself: models, states, versions, health."""

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.errors import RequestFailed
from repertory.http.asking import ask
from repertory.http.in_hand import InHand
from repertory.http.replies import RETRY_AFTER, json_reply
from repertory.http.states import state_of

# A router answers in a millisecond; a probe that waits longer than this for it has its answer.
HEALTH_SECONDS = 2.0


class Queries:
    """Passes questions on to the router, and its answers back."""

    def __init__(self, router: RouterClient) -> None:
        self._router = router

    async def models(self, _: web.Request) -> web.Response:
        """Answer which models serve."""
        return json_reply(await ask(self._router, "models"))

    async def processors(self, _: web.Request) -> web.Response:
        """Answer which data types are served, as the original system does."""
        models = (await ask(self._router, "models"))["models"]
        # Some have a model on each of several slots.
        return json_reply({"models": list(dict.fromkeys(each["dataType"] for each in models))})

    async def state(self, request: web.Request) -> web.Response:
        """Answer how the model of a data type does, or its policy and all its slots."""
        return json_reply(await state_of(self._router, request.match_info["dataType"]))

    async def versions(self, request: web.Request) -> web.Response:
        """Answer what became of each model version of a data type."""
        data_type = request.match_info["dataType"]
        return json_reply(await ask(self._router, "versions", data_type=data_type))

    async def status(self, request: web.Request) -> web.Response:
        """Answer how this node does, or the one that `node` names."""
        node = request.query.get("node")
        named: dict[str, Any] = {} if node is None else {"node": node}
        return json_reply(await ask(self._router, "status", **named))


class Health:
    """Tells load balancers and supervisors whether to send requests here."""

    def __init__(self, router: RouterClient, in_hand: InHand) -> None:
        self._router = router
        self._in_hand = in_hand

    async def live(self, _: web.Request) -> web.Response:
        """Answer that this process runs."""
        return json_reply({"live": True})

    async def ready(self, _: web.Request) -> web.Response:
        """Answer 200 when the node can do all that it is configured to do, and 503 otherwise."""
        health = await self._health()
        ready = bool(health["ready"])
        return json_reply(
            health, status=200 if ready else 503, headers=None if ready else RETRY_AFTER
        )

    async def is_ready(self) -> bool:
        """Return whether the node can do all that it is configured to do."""
        return bool((await self._health())["ready"])

    async def _health(self) -> dict[str, Any]:
        if self._in_hand.draining:
            return _not_ready("this process is shutting down")
        try:
            health = await ask(self._router, "health", timeout=HEALTH_SECONDS)
        except RequestFailed as error:
            return _not_ready(f"the router does not answer: {error}")
        if health["ready"]:
            return health
        return _not_ready("; ".join(reasons(health))) | health


def reasons(health: dict[str, Any]) -> Iterator[str]:
    """Yield why a router's answer about the node's health is that it is not ready."""
    if health["waiting_for"]:
        yield f"no model serves yet: {', '.join(health['waiting_for'])}"
    for troubles in health["troubles"].values():
        yield from troubles


def _not_ready(why: str) -> dict[str, Any]:
    return {"ready": False, "error": why}
