"""Questions to the router, which may just be coming back."""

import asyncio
from typing import Any

from repertory.actors.client import RouterClient
from repertory.errors import Unavailable
from repertory.http.visitor import CHANGES, visitor_now

# The router answers in a millisecond, the keeper in some; a new router is there in 0.2 s.
QUESTION_SECONDS = 5.0


async def ask(
    router: RouterClient, subject: str, *, timeout: float = QUESTION_SECONDS, **data: Any
) -> dict[str, Any]:
    """Ask the router. Raises a RequestFailed: Unavailable when there is no router in that time.

    Forbidden, when the request that is worked on is from somebody who may not ask this. What
    changes something is told in the audit log.
    """
    visitor = visitor_now()
    if visitor is None:
        return await _ask(router, subject, timeout, data)
    if "data_type" in data:
        visitor.demand_data_type(data["data_type"])
    asking = _ask(router, subject, timeout, data)
    return await (visitor.change(subject, data, asking) if subject in CHANGES else asking)


async def _ask(
    router: RouterClient, subject: str, timeout: float, data: dict[str, Any]
) -> dict[str, Any]:
    deadline = asyncio.get_running_loop().time() + timeout
    await wait_for_router(router, deadline)
    return await router.ask(subject, timeout=timeout, **data)


async def wait_for_router(router: RouterClient, deadline: float) -> None:
    """Wait until there is a connection. Raises Unavailable at `deadline`, a time of the loop."""
    if router.connected.is_set():
        return
    try:
        async with asyncio.timeout_at(deadline):
            await router.connected.wait()
    except TimeoutError:
        raise Unavailable("the router of this node cannot be reached just now") from None
