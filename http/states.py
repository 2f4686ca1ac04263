"""How a data type does: its one model, or its policy and the models on all its slots."""

import asyncio
from collections.abc import Sequence
from typing import Any

from repertory.actors.client import RouterClient
from repertory.errors import RequestFailed, Unavailable
from repertory.http.asking import QUESTION_SECONDS, ask


async def state_of(
    router: RouterClient, data_type: str, *, timeout: float = QUESTION_SECONDS
) -> dict[str, Any]:
    """Return what `/state` answers. Raises a RequestFailed.

    With a policy, `slots` has the state of each slot and shadow, or `error`; and all that is said
    of the best-ranked one that has a model stands beside, as it does without a policy.
    """
    state = await ask(router, "state", timeout=timeout, data_type=data_type)
    if "policy" not in state:
        return state
    policy = state["policy"]
    if policy is None:
        raise Unavailable(f"the policy of {data_type!r} is about to come into force; try again")
    names = [*policy["ranking"], *policy["shadows"]]
    found = await asyncio.gather(
        *(_slot_state(router, data_type, name, timeout=timeout) for name in names)
    )
    slots = dict(zip(names, found, strict=True))
    return {**state, **_best(slots, policy["ranking"]), "policy": policy, "slots": slots}


async def _slot_state(
    router: RouterClient, data_type: str, slot: str, *, timeout: float
) -> dict[str, Any]:
    try:
        return await ask(router, "state", timeout=timeout, data_type=data_type, slot=slot)
    except RequestFailed as error:
        return {"error": str(error)}


def _best(slots: dict[str, dict[str, Any]], ranking: Sequence[str]) -> dict[str, Any]:
    return next((slots[name] for name in ranking if "error" not in slots[name]), {})
