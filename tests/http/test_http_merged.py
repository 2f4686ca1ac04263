"""What several nodes answer together is shown with its age."""

from typing import Any

import pytest
from tests.http.scripted import ScriptedRouter, policy_answer, slot_answer

from repertory.http.queries import Queries
from repertory.http.states import state_of

OLD, NOW, GONE = 1000, 5000, 2000


def router(**slots: dict[str, Any]) -> ScriptedRouter:
    """Return a router of a data type with a policy, of which slots are as old as is said."""
    script: dict[tuple[str, str | None], Any] = {
        ("state", slot): {**slot_answer(slot, 3), "asOf": NOW} | slots.get(slot, {})
        for slot in ("forest", "tree", "mlp")
    }
    script["state", None] = {**policy_answer(), "asOf": NOW}
    return ScriptedRouter(script)


async def test_the_state_is_as_old_as_its_oldest_part() -> None:
    state = await state_of(router(tree={"asOf": OLD}), "wine")
    assert (state["asOf"], state["slots"]["forest"]["asOf"], "stale" in state) == (OLD, NOW, False)


async def test_one_slot_that_is_stale_makes_the_state_stale() -> None:
    stale = {"asOf": OLD, "stale": True, "staleSince": GONE}
    state = await state_of(router(mlp=stale), "wine")
    assert (state["stale"], state["staleSince"], state["asOf"]) == (True, GONE, OLD)
    assert "stale" not in state["slots"]["tree"]


@pytest.mark.parametrize("local", [False, True])
async def test_a_node_is_asked_alone_only_when_that_is_wanted(local: bool) -> None:
    asked: list[dict[str, Any]] = []

    class Noting(ScriptedRouter):
        async def ask(self, subject: str, *, timeout: float = 5.0, **data: Any) -> dict[str, Any]:
            asked.append(data)
            return slot_answer("forest", 3)

    await state_of(Noting({}), "wine", local=local)
    assert [each.get("local", False) for each in asked] == [local]


async def test_a_data_type_with_several_slots_is_one_processor() -> None:
    models = [{"dataType": name} for name in ("wine", "wine", "beer")]
    queries = Queries(ScriptedRouter({("models", None): {"models": models}}))
    request: Any = None
    assert (await queries.processors(request)).text == '{"models":["wine","beer"]}\n'
