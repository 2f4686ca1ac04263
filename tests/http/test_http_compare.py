"""What is told over HTTP of a data type whose answers a policy chooses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.http.scripted import Ask, ScriptedRouter, slot_answer, with_policy

from repertory.errors import NotFound, Unavailable


async def test_the_state_is_the_policys_and_each_slots_own(reply_of: Ask) -> None:
    state = await (await reply_of(with_policy(), "/state/wine")).json()
    assert state["policy"]["choices"] == {"forest": 3, "tree": 1}
    assert (state["policy"]["name"], state["policy"]["timeout"]) == ("deadline", 20.0)
    assert state["slots"]["tree"] == slot_answer("tree", 4)
    assert state["slots"]["mlp"] == {"error": "no model serves 'wine/mlp' yet"}


async def test_who_knows_nothing_of_policies_sees_the_best_ranked_model(reply_of: Ask) -> None:
    state = await (await reply_of(with_policy(), "/state/wine")).json()
    own = slot_answer("forest", 3)
    assert {key: state[key] for key in own} == own


async def test_the_next_best_stands_in_for_a_slot_that_is_silent(reply_of: Ask) -> None:
    router = with_policy(forest=Unavailable("it is restarting"))
    state = await (await reply_of(router, "/state/wine")).json()
    assert (state["name"], state["version"]) == ("tree", 4)
    assert state["slots"]["forest"] == {"error": "it is restarting"}


async def test_the_policy_is_told_when_no_slot_is(reply_of: Ask) -> None:
    gone = Unavailable("gone")
    reply = await reply_of(with_policy(forest=gone, tree=gone), "/state/wine")
    state = await reply.json()
    assert (reply.status, state["policy"]["usage"], "version" in state) == (200, 4, False)


async def test_a_policy_that_is_not_set_yet_is_worth_another_try(reply_of: Ask) -> None:
    coming = {"dataType": "wine", "node": "a", "policy": None}
    reply = await reply_of(ScriptedRouter({("state", None): coming}), "/state/wine")
    assert (reply.status, "Retry-After" in reply.headers) == (503, True)


async def test_without_a_policy_the_state_is_as_ever(reply_of: Ask) -> None:
    plain = slot_answer("forest", 3)
    router = ScriptedRouter({("state", None): plain})
    assert await (await reply_of(router, "/state/wine")).json() == plain


async def test_pairs_of_slots_are_told(reply_of: Ask) -> None:
    compared = await (await reply_of(with_policy(), "/compare/wine")).json()
    pair = compared["pairs"][0]
    assert (pair["slots"], pair["records"], pair["agreementRate"]) == (["forest", "tree"], 4, 0.75)
    assert pair["confusion"] == {"5": {"5": 2}, "6": {"5": 1, "6": 1}}
    assert [each["slots"] for each in compared["pairs"][1:]] == [["forest", "mlp"], ["tree", "mlp"]]


async def test_without_a_policy_there_is_nothing_to_compare(reply_of: Ask) -> None:
    router = ScriptedRouter({("comparison", None): NotFound("there is no policy for 'wine'")})
    reply = await reply_of(router, "/compare/wine")
    assert (reply.status, await reply.json()) == (404, {"error": "there is no policy for 'wine'"})


@pytest.fixture
async def value(reply_of: Ask) -> Callable[..., float | None]:
    """What Prometheus reads of a node with a policy, by name and labels."""
    text = await (await reply_of(with_policy(), "/metrics")).text()
    samples = [each for one in text_string_to_metric_families(text) for each in one.samples]

    def find(name: str, /, **labels: str) -> float | None:
        found = [each.value for each in samples if (each.name, each.labels) == (name, labels)]
        return found[0] if found else None

    return find


def test_prometheus_reads_whose_answers_a_policy_took(value: Callable[..., float | None]) -> None:
    policy = {"data_type": "wine", "policy": "deadline", "policy_version": "9"}
    assert value("repertory_policy_records_total", slot="forest", **policy) == 3
    assert value("repertory_policy_records_total", slot="tree", **policy) == 1
    assert value("repertory_policy_fallbacks_total", **policy) == 1
    assert value("repertory_policy_record_errors_total", **policy) == 0
    latency = value("repertory_policy_latency_seconds", quantile="0.99", **policy)
    assert latency == pytest.approx(0.004, rel=0.0101)
    batches = "repertory_policy_slot_batches_total"
    assert value(batches, slot="forest", state="late", **policy) == 1
    assert value(batches, slot="mlp", state="arrived", **policy) == 2


def test_prometheus_reads_how_slots_differ(value: Callable[..., float | None]) -> None:
    pair = {"data_type": "wine", "slot": "forest", "other": "tree"}
    assert value("repertory_compared_records_total", **pair) == 4
    assert value("repertory_disagreements_total", **pair) == 1
    assert value("repertory_disagreement_rate", **pair) == 0.25
    assert value("repertory_disagreement_rate", **pair | {"other": "mlp"}) is None


def test_prometheus_reads_each_slots_own_model(value: Callable[..., float | None]) -> None:
    for name, version in (("forest", "3"), ("tree", "4")):
        assert value("repertory_records_total", data_type="wine", version=version) == 4
        about = {"name": name, "sha256": "ab" * 32, "model_type": "ONNX", "node": "a"}
        info = "repertory_model_info"
        assert value(info, data_type="wine", version=version, **about) == 1
    assert value("repertory_swaps_total", data_type="wine") == 3


@pytest.fixture
async def shadowed(call: Any, publish: Any, model: Any) -> AsyncIterator[Any]:
    """Have a shadow beside a model on the shared node, which says 0.5 more; score two wines."""
    for name, bias in (("one", 0.0), ("two", 0.5)):
        assert (await publish(model(bias), name=name)).status == 201
    policy = {"policy": "latest", "slots": ["one"], "shadows": ["two"]}
    assert (await call("PUT", "/policies/wine", json=policy)).status == 200
    yield
    assert (await call("DELETE", "/policies/wine")).status == 200


@pytest.mark.usefixtures("shadowed")
async def test_a_shadow_is_compared_and_never_answers(call: Any, wine: Any) -> None:
    scored = await call("POST", "/score/wine", json=[wine(9), wine(10)])
    assert [each["value"] for each in scored.body["results"]] == [9, 10]
    async with asyncio.timeout(20):  # the shadow may be the last to answer
        while not (pair := (await call("GET", "/compare/wine")).body["pairs"][0])["records"]:
            pass
    assert (pair["slots"], pair["records"], pair["agreements"]) == (["one", "two"], 2, 0)
    assert pair["differences"]["signedMean"] == 0.5
    state = (await call("GET", "/state/wine")).body
    assert state["policy"]["choices"] == {"one": 2}
    assert {name: each["usage"] for name, each in state["slots"].items()} == {"one": 2, "two": 2}
