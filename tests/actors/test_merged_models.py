"""The models of several nodes are each told once, with who has which version."""

from typing import Any

from tests.actors.replicas import NOW, part

from repertory.actors.merged_answers import merge


def model(data_type: str, version: int = 5, *, slot: str = "", **more: Any) -> dict[str, Any]:
    about = {"dataType": data_type, "name": f"m{version}", "version": version, "since": 100}
    return {**about, **({"slot": slot} if slot else {}), **more}


def models(*serving: dict[str, Any]) -> dict[str, Any]:
    return {"models": list(serving)}


def names(merged: dict[str, Any]) -> list[tuple[str, str | None, int]]:
    return [(each["dataType"], each.get("slot"), each["version"]) for each in merged["models"]]


def test_a_single_node_says_what_it_says_alone() -> None:
    told = models(model("wine"), model("beer"))
    assert merge("models", [part("a", told)]) == {**told, "asOf": NOW}
    assert merge("models", [part("a", models())]) == {"models": [], "asOf": NOW}


def test_what_is_spread_over_nodes_is_told_once_each() -> None:
    merged = merge(
        "models",
        [
            part("b", models(model("wine", since=90), model("cider"))),
            part("a", models(model("wine"), model("beer"))),
        ],
    )
    assert names(merged) == [("beer", None, 5), ("cider", None, 5), ("wine", None, 5)]
    wine = merged["models"][2]
    assert (wine["since"], list(wine["replicas"])) == (90, ["a", "b"])


def test_of_different_versions_the_newest_is_told_and_who_has_which() -> None:
    parts = [part("a", models(model("wine", 4))), part("b", models(model("wine", 6, since=300)))]
    wine = merge("models", parts)["models"][0]
    assert (wine["version"], wine["name"], wine["since"]) == (6, "m6", 300)
    assert {name: each["version"] for name, each in wine["replicas"].items()} == {"a": 4, "b": 6}


def test_a_version_that_was_rolled_back_to_is_newer() -> None:
    back, before = model("wine", 2, position=9), model("wine", 5, position=5)
    merged = merge("models", [part("a", models(before)), part("b", models(back))])
    assert names(merged) == [("wine", None, 2)]
    assert "position" not in merged["models"][0]


def test_slots_are_told_by_rank_and_of_the_node_that_has_the_policy() -> None:
    slots = models(model("wine", 3, slot="tree"), model("wine", 5, slot="forest"))
    merged = merge("models", [part("a", models(model("wine"))), part("b", slots)])
    assert names(merged) == [("wine", "tree", 3), ("wine", "forest", 5)]


def test_a_model_that_is_retired_on_one_node_is_told_of_the_other() -> None:
    merged = merge("models", [part("a", models()), part("b", models(model("wine")))])
    assert list(merged["models"][0]["replicas"]) == ["b"]


def test_the_last_known_models_of_an_unreachable_node_are_told_as_such() -> None:
    gone = part("b", models(model("cider")), gone=NOW - 5, at=NOW - 9)
    merged = merge("models", [part("a", models(model("wine"))), gone])
    assert names(merged) == [("cider", None, 5), ("wine", None, 5)]
    assert (merged["asOf"], merged["stale"], merged["staleSince"]) == (NOW - 9, True, NOW - 5)
    assert merged["models"][0]["replicas"]["b"]["unreachableSince"] == NOW - 5
