"""What the slots of a data type say of the same records, compared."""

from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.http.asking import ask
from repertory.http.replies import json_reply


class Comparisons:
    """Passes questions on to the policy of a data type, and its answers back."""

    def __init__(self, router: RouterClient) -> None:
        self._router = router

    async def compare(self, request: web.Request) -> web.Response:
        """Answer how far slots agree, pair by pair; 404 for a data type without a policy."""
        data_type = request.match_info["dataType"]
        return json_reply(await ask(self._router, "comparison", data_type=data_type))
