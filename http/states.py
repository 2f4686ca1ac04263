"""How a data type does: its one model, or its policy and the models on all its slots."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from repertory.actors.client import RouterClient
from repertory.errors import RequestFailed, Unavailable
from repertory.http.asking import QUESTION_SECONDS, ask

MOST_RECENT = 10


async def state_of(
    router: RouterClient,
    data_type: str,
    *,
    timeout: float = QUESTION_SECONDS,
    local: bool = False,
    details: bool = False,
) -> dict[str, Any]:
    """Return what `/state` answers, of all nodes or, `local`, of this one. Raises a RequestFailed.

    With `details`, `sketches` (by node) and `recent` are there, too, see `merged_details`.

    With a policy, `slots` has the state of each slot and shadow, or `error`; and all that is said
    of the best-ranked one that has a model stands beside, as it does without a policy. `asOf` and
    `stale` are of the policy and all slots together.
    """
    asked: dict[str, Any] = {"data_type": data_type, **({"local": True} if local else {})}
    asked |= {"sketches": True} if details else {}
    state = await ask(router, "state", timeout=timeout, **asked)
    if "policy" not in state:
        return state
    policy = state["policy"]
    if policy is None:
        raise Unavailable(f"the policy of {data_type!r} is about to come into force; try again")
    names = [*policy["ranking"], *policy["shadows"]]
    found = await asyncio.gather(
        *(_slot_state(router, {**asked, "slot": name}, timeout=timeout) for name in names)
    )
    slots = dict(zip(names, found, strict=True))
    told = {**state, **_best(slots, policy["ranking"]), "policy": policy}
    told |= _details(state, slots) if details else {}
    return told | {"slots": slots} | _freshness([state, *slots.values()])


async def _slot_state(
    router: RouterClient, asked: dict[str, Any], *, timeout: float
) -> dict[str, Any]:
    try:
        return await ask(router, "state", timeout=timeout, **asked)
    except RequestFailed as error:
        return {"error": str(error)}


def _details(state: dict[str, Any], slots: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the policy's sketches, and what its slots answered last; take theirs from them."""
    recent: list[dict[str, Any]] = []
    for name, slot in slots.items():
        recent += [{**each, "slot": name} for each in slot.pop("recent", ())]
        slot.pop("sketches", None)
    recent.sort(key=lambda each: each["at"], reverse=True)
    return {"sketches": state.get("sketches", {}), "recent": recent[:MOST_RECENT]}


def _best(slots: dict[str, dict[str, Any]], ranking: Sequence[str]) -> dict[str, Any]:
    return next((slots[name] for name in ranking if "error" not in slots[name]), {})


def _freshness(answers: Collection[Mapping[str, Any]]) -> dict[str, Any]:
    """Return of when several answers are together; a node that is asked alone does not say."""
    moments = [each["asOf"] for each in answers if "asOf" in each]
    gone = [each["staleSince"] for each in answers if each.get("stale")]
    as_of = {"asOf": min(moments)} if moments else {}
    return {**as_of, **({"stale": True, "staleSince": min(gone)} if gone else {})}
