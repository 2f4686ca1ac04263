"""The nodes of the cluster, and who serves what, as the router of this node sees it."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.errors import NotFound
from repertory.http.asking import ask
from repertory.http.replies import json_reply


class Clusters:
    """Passes questions about the cluster on to the router. There is nothing here to change."""

    def __init__(self, router: RouterClient) -> None:
        self._router = router

    async def cluster(self, _: web.Request) -> web.Response:
        """Answer who is there, and who owns and serves each data type."""
        return json_reply(await self._described())

    async def member(self, request: web.Request) -> web.Response:
        """Answer how one node is; 404 when cluster.yaml does not name it."""
        name = request.match_info["node"]
        members = (await self._described())["members"]
        found = next((each for each in members if each["node"] == name), None)
        if found is None:
            there = ", ".join(each["node"] for each in members)
            raise NotFound(f"no node {name!r} is declared in cluster.yaml; there are: {there}")
        return json_reply(found)

    async def _described(self) -> dict[str, Any]:
        return described(await ask(self._router, "cluster"))


def described(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """Return a router's answer, with the data types that each member `owns` and `serves`."""
    shards = cluster["shards"]
    members = [
        {
            **member,
            "owns": [name for name, each in shards.items() if member["node"] in each["owners"]],
            "serves": [name for name, each in shards.items() if member["node"] in each["ready"]],
        }
        for member in cluster["members"]
    ]
    return {**cluster, "members": members}
