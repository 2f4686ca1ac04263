"""A router that answers from a script, and what the actors behind it answer when a policy is in force."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from repertory.actors.batch import ModelRef, PolicyReport, ScoredColumns, SlotReport, SlotState
from repertory.actors.client import RouterClient
from repertory.actors.policies.comparison import Comparison
from repertory.actors.policies.policy_statistics import PolicyStatistics
from repertory.actors.statistics import Statistics
from repertory.errors import NoModel, NotFound, RequestFailed

SLOTS, SHADOWS = ("forest", "tree"), ("mlp",)


class ScriptedRouter(RouterClient):
    """Answers questions by (subject, slot) from `script`; an error there is raised."""

    def __init__(
        self, script: dict[tuple[str, str | None], dict[str, Any] | RequestFailed]
    ) -> None:
        super().__init__(Path("nowhere"), role="test")
        self.connected.set()
        self.script = script

    async def ask(self, subject: str, *, timeout: float = 5.0, **data: Any) -> dict[str, Any]:
        assert data.get("data_type", "wine") == "wine"
        answer = self.script.get((subject, data.get("slot")), NotFound("there is none"))
        if isinstance(answer, RequestFailed):
            raise answer
        return answer


Ask = Callable[..., Awaitable[Any]]


def policy_answer() -> dict[str, Any]:
    """Return what a policy actor says of itself: 3 records forest's, 1 tree's, forest late once."""
    statistics = PolicyStatistics(SLOTS, SHADOWS)
    late = (SlotState.LATE, SlotState.ARRIVED, SlotState.ARRIVED)
    for states, chosen in (((SlotState.ARRIVED,) * 3, [0, 0, 0]), (late, [1])):
        parts = zip((*SLOTS, *SHADOWS), states, strict=True)
        slots = tuple(SlotReport(name, state, shadow=name in SHADOWS) for name, state in parts)
        fallback = np.array(chosen) > 0
        report = PolicyReport("deadline", 9, slots, np.array(chosen, np.int8), fallback, 0.002)
        statistics.count(report, 4.0, 0, len(chosen))
    about: dict[str, Any] = {
        "name": "deadline",
        "version": 9,
        "decider": "BestInTime",
        "since": 1795409732596,
    }
    about |= {"timeout": 20.0, "ranking": list(SLOTS), "shadows": list(SHADOWS)}
    return {"dataType": "wine", "node": "a", "policy": {**about, **statistics.as_json()}}


def slot_answer(slot: str, version: int) -> dict[str, Any]:
    """Return what a serving actor says of the model on its stage."""
    statistics = Statistics()
    statistics.count(4, 1, 2.0)
    about: dict[str, Any] = {
        "dataType": "wine",
        "name": slot,
        "description": "",
        "modelType": "ONNX",
    }
    about |= {"version": version, "sha256": "ab" * 32, "since": 1795409732596, "slot": slot}
    return {**about, **statistics.as_json(), "node": "a"}


def comparison_answer() -> dict[str, Any]:
    """Return what a policy actor says of its slots: forest and tree differ on one of four records."""
    comparison, model = Comparison([*SLOTS, *SHADOWS]), ModelRef("m", 1, "")
    comparison.begin(1, 4, np.array([[True] * 4, [True] * 4, [False] * 4]))
    for slot, chosen in enumerate(([0, 0, 1, 1], [0, 0, 1, 0])):
        labels = np.array(chosen, np.int32)
        probabilities = np.eye(2)[labels]
        columns = ScoredColumns(model, 4, None, ("5", "6"), labels, probabilities, {})
        comparison.arrived(1, slot, columns, None)
    return {"dataType": "wine", "policy": "deadline", "version": 9, **comparison.as_json()}


def with_policy(**slots: dict[str, Any] | RequestFailed) -> ScriptedRouter:
    """Return a router of wine with a policy, and with slots as given in place of those that serve."""
    serving = {"forest": slot_answer("forest", 3), "tree": slot_answer("tree", 4)}
    found = {**serving, "mlp": NoModel("no model serves 'wine/mlp' yet"), **slots}
    status = {"serving": True, "waiting": 0, "in_flight": 0}
    data_types = {
        "wine": {
            **status,
            "swaps": 2,
            "slots": {"forest": {"swaps": 2}, "tree": {"swaps": 1}, "mlp": {}},
        }
    }
    return ScriptedRouter(
        {
            ("state", None): policy_answer(),
            ("comparison", None): comparison_answer(),
            ("status", None): {"ready": True, "node": "a", "data_types": data_types},
            **{("state", name): answer for name, answer in found.items()},
        }
    )


def member(node: str, *roles: str, **about: Any) -> dict[str, Any]:
    """Return what a router says of a node, which is up unless `about` says otherwise."""
    told: dict[str, Any] = {"node": node, "state": "up", "since": 1795409732596, "reason": ""}
    told |= {"host": "10.0.0.1", "doorPort": 5590, "http": f"http://{node}:5500"}
    told |= {"roles": list(roles), "software": "0.1.0", "protocol": 1, "incarnation": node * 32}
    told |= {"started": 1795409732000, "weight": 1.0, "capabilities": {}, "only": None}
    return told | about


def cluster_answer() -> dict[str, Any]:
    """Return what node a says of a cluster whose node c is down, and that lacks a model of beer."""
    wine = {"replicas": 2, "owners": ["a", "b"], "ready": {"a": 20, "b": 20}, "out": {}}
    beer = {"replicas": 1, "owners": ["a"], "ready": {}, "out": {"a": "it takes 9 GiB of memory"}}
    lost = {"state": "down", "reason": "silent for 5.1 s", "capabilities": {"gpu": True}}
    return {
        "node": "a",
        "leader": "a",
        "members": [member("a", "leader"), member("b", "standby"), member("c", "member", **lost)],
        "shards": {"beer": beer, "wine": wine},
    }
