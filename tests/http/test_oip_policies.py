"""Several models of a data type on stage, as the Open Inference Protocol tells of them."""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 11], "data": [1] * 10 + [9]}]}


@pytest.fixture
async def two(call: Any, publish: Any, model: Callable[[float], bytes]) -> AsyncIterator[list[str]]:
    """Have `one`, which answers a wine's alcohol, and `two`, 0.5 more, on stage; their versions."""
    replies = [
        await publish(model(each / 2), name=name) for each, name in enumerate(("one", "two"))
    ]
    policy = {"policy": "deadline", "slots": ["two", "one"], "deadlineMs": 2000}
    assert (await call("PUT", "/policies/wine", json=policy)).status == 200
    yield [str(each.body["version"]) for each in replies]
    assert (await call("DELETE", "/policies/wine")).status == 200


async def test_a_policy_chooses_and_the_reply_says_whom(call: Any, two: list[str]) -> None:
    reply = await call("POST", "/v2/models/wine/infer", json=ONE)
    assert reply.body["outputs"][0]["data"] == [9.5]
    assert reply.body["parameters"]["model"] == reply.headers["X-Repertory-Model"] == "two"
    assert reply.body["model_version"] == two[1]


async def test_a_model_that_is_named_answers_whatever_the_policy_says(
    call: Any, two: list[str]
) -> None:
    paths = {"one": 9, "wine/versions/" + two[0]: 9, "two": 9.5, "two/versions/" + two[1]: 9.5}
    for path, answer in paths.items():
        reply = await call("POST", f"/v2/models/{path}/infer", json=ONE)
        assert reply.body["outputs"][0]["data"] == [answer]
        assert reply.body["parameters"]["model"] == ("one" if answer == 9 else "two")
    reply = await call("POST", f"/v2/models/one/versions/{two[1]}/infer", json=ONE)
    assert reply.status == 404
    policy = (await call("GET", "/state/wine")).body["policy"]
    assert policy["usage"] == 0


async def test_all_models_on_stage_are_ready(call: Any, two: list[str]) -> None:
    assert (await call("GET", "/v2/models/wine")).body["versions"] == two
    assert (await call("GET", "/v2/models/one")).body["versions"] == two[:1]
    ready = (await call("POST", "/v2/repository/index", json={"ready": True})).body
    assert {each["version"] for each in ready} == set(two)


async def test_each_model_has_statistics_of_its_own(call: Any, two: list[str]) -> None:
    await call("POST", "/v2/models/wine/infer", json=ONE)
    for path, versions in (
        ("wine/stats", set(two)),
        ("stats", set(two)),
        ("one/stats", {two[0]}),
        (f"wine/versions/{two[1]}/stats", {two[1]}),
    ):
        found = (await call("GET", f"/v2/models/{path}")).body["model_stats"]
        assert {each["version"] for each in found} == versions


@pytest.mark.usefixtures("two")
async def test_one_of_several_models_is_not_unloaded_with_the_others(call: Any) -> None:
    reply = await call("POST", "/v2/repository/models/one/unload")
    assert reply.status == 400
    assert "several models on stage (one, two)" in reply.body["error"]
    assert (await call("GET", "/v2/models/one/ready")).status == 200


@pytest.mark.usefixtures("two")
async def test_a_model_without_a_slot_does_not_serve_and_that_is_told(
    call: Any, model: Callable[[float], bytes]
) -> None:
    path = "/v2/repository/models/three/load?dataType=wine"
    content = {"parameters": {"file:m": b64encode(model(3)).decode()}}
    reply = await call("POST", path, json=content)
    assert reply.status == 400
    assert "of 'three' is WARM and does not serve: the policy" in reply.body["error"]
