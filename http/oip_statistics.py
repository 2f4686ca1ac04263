"""How often and how fast models answered: the statistics extension of the Open Inference Protocol.

Source: Triton's protocol/extension_statistics.md.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.errors import NoModel
from repertory.http.oip_models import Models, Named, Told
from repertory.http.replies import json_reply
from repertory.http.states import state_of

_NANOSECONDS = 1e6  # of a millisecond
# What is not counted apart: a record's whole time is that of its batch's scoring.
_UNCOUNTED = ("queue", "compute_input", "compute_output", "cache_hit", "cache_miss")
# Ours, in milliseconds: beside what clients of Triton read.
_MORE = ("min", "max", "percentiles", "since")

State = Mapping[str, Any]


class Statistics:
    """Tells of the models on stage what they did there, on all nodes together."""

    def __init__(self, router: RouterClient, models: Models) -> None:
        self._router = router
        self._models = models

    async def all(self, _: web.Request) -> web.Response:
        """Answer for all models that serve."""
        return json_reply(await self.of_all())

    async def of_all(self) -> Told:
        """Return what all models did that serve."""
        serving = await self._models.on_stage()
        names = list(dict.fromkeys(each["dataType"] for each in serving))
        states = await asyncio.gather(*map(self._slots, names))
        found = zip(names, states, strict=True)
        return {"model_stats": [_statistics(name, each) for name, of in found for each in of]}

    async def one(self, request: web.Request) -> web.Response:
        """Answer for the models that a path names; none when none serves."""
        return json_reply(await self.of(await self._models.named(request)))

    async def of(self, named: Named) -> Told:
        """Return what the models did that are named; none when none serves."""
        slots = await self._slots(named.target.data_type) if named.models else ()
        meant = [each for each in slots if _is_meant(each, named)]
        return {"model_stats": [_statistics(named.name, each) for each in meant]}

    async def _slots(self, data_type: str) -> Sequence[State]:
        """Return the state of each model that a data type has on stage."""
        try:
            state = await state_of(self._router, data_type)
        except NoModel:  # it has just been retired
            return []
        slots = state.get("slots")
        found = [state] if slots is None else list(slots.values())
        return [each for each in found if "error" not in each]


def _is_meant(state: State, named: Named) -> bool:
    wanted = named.target.version
    return named.name in (state["name"], named.target.data_type) and wanted in (
        None,
        state["version"],
    )


def _statistics(name: str, state: State) -> dict[str, Any]:
    scored, errors, batches = state["usage"] - state["errors"], state["errors"], state["batches"]
    nanoseconds = round(state["duration"] * _NANOSECONDS)
    nothing = {"count": 0, "ns": 0}
    return {
        "name": name,
        "version": str(state["version"]),
        "last_inference": 0,  # when that was, nobody writes down
        "inference_count": scored,
        "execution_count": batches,
        "inference_stats": {
            "success": {"count": scored, "ns": nanoseconds},
            "fail": {"count": errors, "ns": 0},
            "compute_infer": {"count": scored, "ns": nanoseconds},
            **dict.fromkeys(_UNCOUNTED, nothing),
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
        "data_type": state["dataType"],
        "model": state["name"],
        "sha256": state["sha256"],
        **{key: state[key] for key in _MORE if key in state},
    }
